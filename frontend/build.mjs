// Makes dist/, the folder that the collector and Django's static files serve: the tracker,
// minified, and the third-party files that pages load. Called by `npm run build`. Third-party
// code is copied from node_modules at build time and never committed.

import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { transform } from "esbuild";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

const TRACKER_LICENCE = "/*! Aktivat trackr.js, MIT licence */";
const TRACKER_LIMIT = 5 * 1024; // bytes gzipped: every page of every customer pays for them
const COPIED = {
  "node_modules/uplot/dist/uPlot.iife.min.js": "dist/vendor/uplot/uPlot.iife.min.js",
  "node_modules/uplot/dist/uPlot.min.css": "dist/vendor/uplot/uPlot.min.css",
};

async function buildTracker() {
  const source = await readFile(at("tracker/trackr.js"), "utf8");
  const { code } = await transform(source, {
    minify: true,
    target: "es2020",
    legalComments: "none",
    banner: TRACKER_LICENCE,
  });
  const size = gzipSync(code, { level: 9 }).length;
  console.log(`trackr.js: ${code.length} bytes, ${size} gzipped`);
  if (size > TRACKER_LIMIT) {
    throw new Error(
      `trackr.js is ${size} bytes gzipped; the limit is ${TRACKER_LIMIT}: shorten it`,
    );
  }
  await writeFile(at("dist/js/trackr.js"), code);
}

await rm(at("dist"), { recursive: true, force: true });
await mkdir(at("dist/js"), { recursive: true });
await mkdir(at("dist/vendor/uplot"), { recursive: true });
await buildTracker();
for (const [from, to] of Object.entries(COPIED)) await copyFile(at(from), at(to));
