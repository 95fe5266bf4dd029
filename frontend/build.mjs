// Makes dist/, the folder that the collector and Django's static files serve: the tracker,
// minified, and the third-party files that pages load. Called by `npm run build`. Third-party
// code is copied from node_modules at build time and never committed.

import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build, transform } from "esbuild";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

const CORE_LIMIT = 5 * 1024; // bytes gzipped: every page of every customer pays for them
const BOTH_LIMIT = 9 * 1024; // core and more.js together
const LICENCE = "MIT licence";
const LICENCE_OF_VITALS = `${LICENCE}; with web-vitals (vendor/web-vitals), Apache-2.0`;
const COPIED = {
  "node_modules/uplot/dist/uPlot.iife.min.js": "dist/vendor/uplot/uPlot.iife.min.js",
  "node_modules/uplot/dist/uPlot.min.css": "dist/vendor/uplot/uPlot.min.css",
  "node_modules/web-vitals/LICENSE": "dist/vendor/web-vitals/LICENSE",
};

const minified = (name, licence) => ({
  minify: true,
  target: "es2020",
  legalComments: "none",
  banner: `/*! Aktivat ${name}, ${licence} */`,
});

/** Writes a file of the tracker and tells how many bytes of it go over the wire. */
async function write(name, code) {
  const size = gzipSync(code, { level: 9 }).length;
  console.log(`${name}: ${code.length} bytes, ${size} gzipped`);
  await writeFile(at(`dist/js/${name}`), code);
  return size;
}

async function minify(name) {
  const source = await readFile(at(`tracker/${name}`), "utf8");
  return write(name, (await transform(source, minified(name, LICENCE))).code);
}

async function bundleVitals() {
  const { banner, ...options } = minified("vitals.js", LICENCE_OF_VITALS);
  const { outputFiles } = await build({
    ...options,
    banner: { js: banner },
    entryPoints: [at("tracker/vitals.mjs")],
    bundle: true,
    format: "iife",
    write: false,
  });
  return write("vitals.js", outputFiles[0].text);
}

function hold(what, size, limit) {
  if (size > limit) {
    throw new Error(`${what}: ${size} bytes gzipped; the limit is ${limit}: shorten it`);
  }
}

async function buildTracker() {
  const core = await minify("trackr.js");
  const more = await minify("more.js");
  await bundleVitals();
  console.log(`trackr.js and more.js: ${core + more} gzipped`);
  hold("trackr.js", core, CORE_LIMIT);
  hold("trackr.js and more.js", core + more, BOTH_LIMIT);
}

await rm(at("dist"), { recursive: true, force: true });
await mkdir(at("dist/js"), { recursive: true });
await mkdir(at("dist/vendor/uplot"), { recursive: true });
await mkdir(at("dist/vendor/web-vitals"), { recursive: true });
await buildTracker();
for (const [from, to] of Object.entries(COPIED)) await copyFile(at(from), at(to));
