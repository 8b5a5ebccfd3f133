// Runs a Python script in Pyodide under Node: node run_in_pyodide.mjs PYODIDE_FOLDER SCRIPT
// What it prints goes to standard output; where it raises, the traceback goes to standard error and the exit code is 1.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, script] = process.argv.slice(2).map((path) => resolve(path));
const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`).href);
const pyodide = await loadPyodide({ indexURL: `${folder}/`, packages: ["tinymixer"], stdout: console.log, stderr: console.error });
try {
  await pyodide.runPythonAsync(readFileSync(script, "utf8"));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
