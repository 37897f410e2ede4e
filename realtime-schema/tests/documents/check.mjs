// Checks documents with the public parsers: `node check.mjs async-api|open-api FILE`. Prints every error.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

const [kind, file] = process.argv.slice(2);
const text = readFileSync(file, "utf8");
const complaints = kind === "async-api" ? await asyncApi() : [...(await scalar()), ...redocly()];
for (const complaint of complaints) console.log(complaint);
process.exit(complaints.length === 0 ? 0 : 1);

async function asyncApi() {
  const { Parser } = await import("@asyncapi/parser");
  const { document, diagnostics } = await new Parser().parse(text);
  const said = diagnostics.map((one) => `${one.code} at ${one.path.join(".")}: ${one.message}`);
  return document === undefined && said.length === 0 ? ["no document"] : said;
}

async function scalar() {
  const { validate } = await import("@scalar/openapi-parser");
  const { valid, errors } = await validate(text);
  return valid ? [] : errors.map((error) => `scalar: ${error.message}`);
}

function redocly() {
  const config = new URL("redocly.yaml", import.meta.url).pathname;
  const cli = new URL("node_modules/@redocly/cli/bin/cli.js", import.meta.url).pathname;
  const environment = { ...process.env, REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true" };
  try {
    const said = execFileSync(process.execPath, [cli, "lint", "--config", config, "--format", "json", file], { env: environment, stdio: "pipe" });
    const { totals, problems } = JSON.parse(said);
    return totals.warnings > 0 ? problems.map((problem) => `redocly: ${problem.message}`) : [];
  } catch (error) {
    return [`redocly: ${error.stdout}${error.stderr}`];
  }
}
