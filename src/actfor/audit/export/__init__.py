"""The log, sent on: to a SIEM, a collector, a file.

Committed leaves only, in log order, at least once, never in the path of a request. Destinations
come from the configuration and from nowhere else (threats-and-faults D20: an API that adds sinks
is a way to write where one should not).
"""

from actfor.audit.export.formats import Format, batch
from actfor.audit.export.model import Destination
from actfor.audit.export.service import Exporter, Status

__all__ = ["Destination", "Exporter", "Format", "Status", "batch"]
