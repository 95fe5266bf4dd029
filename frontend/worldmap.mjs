// Draws the world map that the reports colour: dist/vendor/world/world.svg, one <path> for each
// country under its ISO code. Called by build.mjs. The shapes are Natural Earth's (public domain),
// as world-atlas packs them; pages refer to them by <use>, so a browser loads the file once.

import { readFile, writeFile } from "node:fs/promises";
import { geoNaturalEarth1, geoPath } from "d3-geo";
import { feature, merge } from "topojson-client";

const WIDTH = 960;
const DOT = 2.5; // radius of what is too small to be seen, and in the coarse map not at all
const ANTARCTICA = "010"; // a fifth of the height, and nobody lives there

// Without a number of ISO 3166-1; named as the addresses of their visitors are.
const BY_NAME = { Kosovo: "XK", "N. Cyprus": "CY", Somaliland: "SO" };

/** The two letters of a country: CLDR knows the numbers as other spellings of them. */
function codeOf({ id, properties }) {
  if (id === undefined) return BY_NAME[properties.name];
  const code = Intl.getCanonicalLocales(`und-${id}`)[0].split("-")[1];
  return /^[A-Z]{2}$/.test(code) ? code : undefined;
}

function byCode(topology) {
  const found = new Map();
  for (const geometry of topology.objects.countries.geometries) {
    const code = codeOf(geometry);
    if (!code || geometry.id === ANTARCTICA) continue;
    found.set(code, [...(found.get(code) ?? []), geometry]);
  }
  return found;
}

export async function drawWorld(coarse, fine, target) {
  const [world, detailed] = await Promise.all(
    [coarse, fine].map(async (path) => JSON.parse(await readFile(path, "utf8"))),
  );
  const shapes = byCode(world);
  const land = merge(world, [...shapes.values()].flat());
  const projection = geoNaturalEarth1().fitWidth(WIDTH, land);
  const path = geoPath(projection).digits(1);
  const [[, top], [, bottom]] = path.bounds(land);
  const drawn = [...shapes].map(([code, parts]) => [code, path(merge(world, parts))]);
  for (const [code, parts] of byCode(detailed)) {
    if (shapes.has(code)) continue;
    const [x, y] = path.centroid(feature(detailed, parts[0]));
    const around = `a${DOT},${DOT} 0 1,0 ${2 * DOT},0a${DOT},${DOT} 0 1,0 ${-2 * DOT},0Z`;
    drawn.push([code, `M${(x - DOT).toFixed(1)},${y.toFixed(1)}${around}`]);
  }
  const paths = drawn.sort().map(([code, d]) => `<path id="${code}" d="${d}"/>`);
  const box = `0 ${Math.floor(top)} ${WIDTH} ${Math.ceil(bottom - Math.floor(top))}`;
  await writeFile(
    target,
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${box}"><g id="world">\n${paths.join("\n")}\n</g></svg>\n`,
  );
  console.log(`world.svg: ${drawn.length} countries, box ${box}`);
}
