// The only script: passkey ceremonies, and two small comforts (countdown, looking again).
// Everything else is a plain page. Uses the browser's own WebAuthn JSON methods, nothing else.
"use strict";

async function post(path, body, csrf) {
  const headers = { "content-type": "application/json", accept: "application/json" };
  if (csrf) headers["x-csrf-token"] = csrf;
  const response = await fetch(path, {
    method: "POST", headers, body: JSON.stringify(body), credentials: "same-origin", redirect: "error",
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail || answer.title || "the server refused");
  return answer;
}

function creation(options) {
  return navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) });
}

function request(options) {
  return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
}

const ceremonies = {
  async register(form) {
    const fields = new FormData(form);
    const begun = await post("/webauthn/register/options", { token: fields.get("token"), name: fields.get("name") });
    const credential = await creation(begun.options);
    await post("/webauthn/register/finish", { ceremony: begun.ceremony, credential: credential.toJSON() });
  },
  async signin() {
    const begun = await post("/webauthn/signin/options", {});
    const credential = await request(begun.options);
    await post("/webauthn/signin/finish", { ceremony: begun.ceremony, credential: credential.toJSON() });
  },
  async approve(form) {
    const path = "/approvals/" + encodeURIComponent(form.dataset.id);
    // What is endorsed is part of what the passkey signs.
    const endorse = [...document.querySelectorAll("input[name=endorse]:checked")].map((box) => box.value);
    const options = await post(path + "/options", { endorse }, form.dataset.csrf);
    const credential = await request(options);
    await post(path + "/answer", { decision: "approve", assertion: credential.toJSON(), endorse }, form.dataset.csrf);
  },
};

function explain(error) {
  if (error.name === "NotAllowedError") return "The passkey was not used: the dialog was closed or timed out.";
  if (error.name === "InvalidStateError") return "This device already has a passkey here.";
  if (error.name === "SecurityError") return "Passkeys need the address this server knows itself by.";
  return error.message;
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button[type=submit]");
    const scope = form.closest(".answer") || form;
    const box = scope.querySelector("[data-error]");
    box.hidden = true;
    button.disabled = true;
    try {
      if (!window.PublicKeyCredential || !PublicKeyCredential.parseRequestOptionsFromJSON) {
        throw new Error("This browser is too old for passkeys.");
      }
      await ceremonies[form.dataset.passkey](form);
      window.location.assign(form.dataset.done);
    } catch (error) {
      box.textContent = explain(error);
      box.hidden = false;
      button.disabled = false;
      button.focus();
    }
  });
}

function remaining(until) {
  const seconds = Math.max(0, Math.floor((Date.parse(until) - Date.now()) / 1000));
  if (seconds < 60) return seconds + " s left";
  return Math.floor(seconds / 60) + " min " + (seconds % 60) + " s left";
}

const timers = document.querySelectorAll("[data-countdown]");
if (timers.length) {
  setInterval(() => {
    for (const timer of timers) timer.textContent = "(" + remaining(timer.dataset.countdown) + ")";
  }, 1000);
}

// A list of waiting calls looks again by itself while nobody uses the page.
const list = document.querySelector("[data-refresh]");
if (list) {
  setInterval(() => {
    const idle = !document.activeElement || document.activeElement === document.body;
    if (idle && document.visibilityState === "visible") window.location.reload();
  }, Number(list.dataset.refresh) * 1000);
}
