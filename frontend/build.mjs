// Makes dist/, the folder that the collector and Django's static files serve: the tracker,
// minified, the third-party files that pages load, and the map of the world. Called by `npm run build`. Third-party
// code is copied from node_modules at build time and never committed.

import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";
import { drawWorld } from "./worldmap.mjs";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

const CORE_LIMIT = 3 * 1024; // bytes gzipped: every page of every customer pays for them
const BOTH_LIMIT = 6 * 1024; // core and more.js together
const LICENCE_OF_VITALS = "With web-vitals (vendor/web-vitals), Apache-2.0";
const COPIED = {
  "node_modules/uplot/dist/uPlot.iife.min.js": "dist/vendor/uplot/uPlot.iife.min.js",
  "node_modules/uplot/dist/uPlot.min.css": "dist/vendor/uplot/uPlot.min.css",
  "node_modules/web-vitals/LICENSE": "dist/vendor/web-vitals/LICENSE",
  "node_modules/world-atlas/LICENSE": "dist/vendor/world/LICENSE",
};

/** Writes a file of the tracker and tells how many bytes of it go over the wire. */
async function write(name, code) {
  const size = gzipSync(code, { level: 9 }).length;
  console.log(`${name}: ${code.length} bytes, ${size} gzipped`);
  await writeFile(at(`dist/js/${name}`), code);
  return size;
}

async function shorten(name) {
  const source = await readFile(at(`tracker/${name}`), "utf8");
  // One word for every variable: lists of them can be joined, and repeat themselves more often.
  const { code } = await minify(source.replace(/\bconst\b/g, "let"), {
    ecma: 2021,
    compress: {
      passes: 4,
      conditionals: false, // as statements they repeat each other more often

      keep_fargs: false,
      pure_getters: true,
      toplevel: true,
      unsafe: true,
      unsafe_arrows: true,
    },
    mangle: { toplevel: true },
  });
  return write(name, code);
}

async function bundleVitals() {
  const { outputFiles } = await build({
    banner: { js: `/*! ${LICENCE_OF_VITALS} */` },
    minify: true,
    target: "es2021",
    legalComments: "none",
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
  const core = await shorten("trackr.js");
  const more = await shorten("more.js");
  await bundleVitals();
  console.log(`trackr.js and more.js: ${core + more} gzipped`);
  hold("trackr.js", core, CORE_LIMIT);
  hold("trackr.js and more.js", core + more, BOTH_LIMIT);
}

await rm(at("dist"), { recursive: true, force: true });
await mkdir(at("dist/js"), { recursive: true });
await mkdir(at("dist/vendor/uplot"), { recursive: true });
await mkdir(at("dist/vendor/web-vitals"), { recursive: true });
await mkdir(at("dist/vendor/world"), { recursive: true });
await buildTracker();
for (const [from, to] of Object.entries(COPIED)) await copyFile(at(from), at(to));
await drawWorld(
  at("node_modules/world-atlas/countries-110m.json"),
  at("node_modules/world-atlas/countries-50m.json"),
  at("dist/vendor/world/world.svg"),
);
