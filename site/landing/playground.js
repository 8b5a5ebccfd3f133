// The playground: an editor, a worker that checks, and sentences for whatever happens.
const section = document.getElementById("playground");
const editor = document.getElementById("code");
const run = document.getElementById("run");
const stop = document.getElementById("stop");
const out = document.getElementById("verdict");
const faults = JSON.parse(document.getElementById("faults").textContent);
const original = editor.value;
const here = (path) => new URL(path, document.baseURI).href;
let worker = null;
let waiting = null; // the source that is being checked, or waits for Python
let started = 0;
let clock = null;

function show(state, sentence, more = []) {
  out.dataset.state = state;
  out.replaceChildren();
  const first = document.createElement("p");
  first.className = "sentence";
  first.textContent = { right: "\u2714 ", wrong: "\u2718 " }[state] ? ({ right: "\u2714 ", wrong: "\u2718 " })[state] + sentence : sentence;
  out.append(first);
  for (const line of more.filter(Boolean)) {
    const next = document.createElement("p");
    next.textContent = line;
    out.append(next);
  }
}

function idle() {
  waiting = null;
  clearInterval(clock);
  run.disabled = false;
  stop.hidden = true;
}

function end() {
  if (worker) worker.terminate();
  worker = null;
  idle();
}

function cannotLoad(text) {
  const asked = waiting !== null;
  end();
  if (asked)
    show("note", `Python could not be loaded: ${text}.`, [
      "Are you offline, or does something block the page's scripts? The check runs on your own machine as well: pip install, then tinymixer gradcheck layer_norm.",
    ]);
}

function heard({ data }) {
  if (data.kind === "progress" && waiting !== null) show("busy", data.text + " ...");
  if (data.kind === "failed") cannotLoad(data.text);
  if (data.kind === "running") {
    show("busy", "Checking ...");
    started = performance.now();
    clock = setInterval(() => {
      const seconds = Math.round((performance.now() - started) / 1000);
      if (seconds >= 5) show("busy", `Still running after ${seconds} s. If the code has an endless loop, press Stop.`);
    }, 1000);
  }
  if (data.kind === "verdict") {
    idle();
    const ones = {
      right: data.passed
        ? ""
        : "A check with dy all ones, on a fresh layer, would have said: right. That is why ours draws dy at random.",
      wrong: "A check with dy all ones finds this one, too.",
    }[data.ones];
    show(data.passed ? "right" : "wrong", data.sentence, [data.details, ones]);
  }
}

function start() {
  if (worker) return true;
  if (location.protocol === "file:") {
    show("note", "A page opened as a file may not start Python. Serve the folder instead: python -m http.server.");
    return false;
  }
  if (typeof WebAssembly !== "object" || typeof Worker !== "function") {
    show("note", "This browser has no WebAssembly, which Python needs here.");
    return false;
  }
  worker = new Worker(here(section.dataset.files + "checker.js"), { type: "module" });
  worker.onmessage = heard;
  worker.onerror = (event) => cannotLoad(event.message || "the worker's script did not load");
  worker.postMessage({ load: { pyodide: here(section.dataset.pyodide), files: here(section.dataset.files) } });
  return true;
}

function check() {
  if (waiting !== null || !start()) return;
  waiting = editor.value;
  run.disabled = true;
  stop.hidden = false;
  show("busy", "Starting Python ...");
  worker.postMessage({ source: waiting });
}

run.addEventListener("click", check);
stop.addEventListener("click", () => {
  end();
  show("note", "Stopped. Your code is as you left it; the next check starts Python anew.");
  run.focus();
});
// Whoever goes to the editor or the button will want a check: Python is loaded meanwhile, and a failure is told only
// once it is asked for.
const prepare = () => location.protocol !== "file:" && start();
editor.addEventListener("focus", prepare, { once: true });
run.addEventListener("pointerenter", prepare, { once: true });

// Replaces the selection in a way that undo knows.
function type(text) {
  if (!document.execCommand("insertText", false, text)) editor.setRangeText(text, editor.selectionStart, editor.selectionEnd, "end");
}

editor.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    check();
  } else if (event.key === "Enter" && !event.shiftKey && !event.altKey && !event.isComposing) {
    event.preventDefault();
    const line = editor.value.slice(0, editor.selectionStart).split("\n").pop();
    type("\n" + line.match(/^ */)[0] + (/:\s*(#.*)?$/.test(line) ? "    " : ""));
  } else if (event.key === "Backspace" && editor.selectionStart === editor.selectionEnd) {
    const before = editor.value.slice(0, editor.selectionStart).split("\n").pop();
    if (before && !before.trim() && before.length % 4 === 0) {
      event.preventDefault();
      editor.setSelectionRange(editor.selectionStart - 4, editor.selectionStart);
      document.execCommand("delete");
    }
  }
});

for (const button of document.querySelectorAll("button[data-fault]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const { old, text } = faults[button.dataset.fault] || {};
    editor.value = old === undefined ? original : original.replace(old, () => text);
    check();
  });
}
run.hidden = false;
