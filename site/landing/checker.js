// The worker behind the playground: loads Python once, then checks what it is sent. It can be ended at any moment.
const say = (kind, rest) => postMessage({ kind, ...rest });

async function text(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  return answer;
}

async function load({ pyodide, files }) {
  say("progress", { text: "Loading Python and NumPy (about 15 MB, once)" });
  const { loadPyodide } = await import(pyodide + "pyodide.mjs");
  const [python, archive, check] = await Promise.all([
    loadPyodide({ indexURL: pyodide, packages: ["numpy"] }),
    text(files + "tinymixer.zip").then((answer) => answer.arrayBuffer()),
    text(files + "check.py").then((answer) => answer.text()),
  ]);
  say("progress", { text: "Importing tinymixer" });
  python.unpackArchive(archive, "zip", { extractDir: "/lib/tinymixer_site" });
  python.FS.writeFile("/lib/tinymixer_site/check.py", check);
  python.runPython("import sys; sys.path.insert(0, '/lib/tinymixer_site'); import json, check");
  return python;
}

let ready;
onmessage = async ({ data }) => {
  if (data.load) ready = load(data.load);
  let python;
  try {
    python = await ready;
  } catch (error) {
    say("failed", { text: String(error && error.message ? error.message : error) });
    return;
  }
  if (data.source === undefined) {
    say("ready", {});
    return;
  }
  say("running", {});
  try {
    python.globals.set("source", data.source);
    say("verdict", JSON.parse(python.runPython("json.dumps(check.verdict(source))")));
  } catch (error) {
    const last = String(error.message || error).trim().split("\n").pop();
    say("verdict", { passed: false, sentence: `The code ended Python: ${last}`, details: "", ones: "" });
  }
};
