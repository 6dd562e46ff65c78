"""The benchmark of decisions asks what the product would ask, and is answered."""

from bench.decision import calls, decided, source

from actfor.authorization import compile_policies
from actfor.authorization.model import Effect


def test_every_call_of_the_benchmark_can_be_evaluated():
    policies = compile_policies(source(100))
    found = [decided(policies, facts) for facts in calls()]
    assert {one.effect for one in found} == set(Effect)
    assert not any("could not be evaluated" in reason for one in found for reason in one.reasons)
