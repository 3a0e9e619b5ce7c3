/** Builds everything in order, and fails where the widget weighs more than it may. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const HEAVIEST_WIDGET = 15_000;
const BUILT = new URL("../src/milepost/web/", import.meta.url);

function run(program, ...args) {
  execFileSync(process.execPath, [`node_modules/${program}`, ...args], {
    stdio: ["ignore", "ignore", "inherit"],
  });
}

run(
  "openapi-typescript/bin/cli.js",
  "client/openapi.json",
  "--output",
  "client/src/schema.ts",
  "--default-non-nullable=false",
  "--empty-objects-unknown",
);
run("typescript/bin/tsc", "--project", "client");
run("vite/bin/vite.js", "build", "--config", "vite.widget.js", "--logLevel", "warn");
run("vite/bin/vite.js", "build", "--config", "vite.demo.js", "--logLevel", "warn");

const sizes = {};
for (const file of readdirSync(new URL("widget/", BUILT)).sort()) {
  sizes[file] = gzipSync(readFileSync(new URL(`widget/${file}`, BUILT)), { level: 9 }).length;
  process.stdout.write(`${file}: ${sizes[file].toLocaleString("en")} bytes gzipped\n`);
}
if (sizes["milepost-checklist.js"] > HEAVIEST_WIDGET) {
  process.stderr.write(`The widget may have ${HEAVIEST_WIDGET.toLocaleString("en")} bytes gzipped.\n`);
  process.exit(1);
}
// Written last: `make` takes its time for that of the whole build.
writeFileSync(new URL("build.json", BUILT), `${JSON.stringify({ widget: sizes }, undefined, 2)}\n`);
