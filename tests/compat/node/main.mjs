// openai-node against a router. Prints a line per check: NAME ok|FAIL DETAIL. See ../doc.go.

import * as chat from "./chat.mjs";
import * as endpoints from "./endpoints.mjs";
import * as errors from "./errors.mjs";
import * as faults from "./faults.mjs";

// A check that takes longer hangs.
const patience = 25_000;

let good = true;
for (const [name, check] of [chat, endpoints, errors, faults].flatMap((m) => Object.entries(m.checks))) {
  const start = performance.now();
  let verdict = "ok";
  let detail;
  let timer;
  try {
    const late = new Promise((_, fail) => {
      timer = setTimeout(() => fail(new Error(`not done after ${patience}ms`)), patience);
    });
    detail = await Promise.race([check(), late]);
  } catch (e) {
    good = false;
    verdict = "FAIL";
    detail = `${e.constructor.name}: ${e.message} (${where(e)})`;
  } finally {
    clearTimeout(timer);
  }
  const took = `${Math.round(performance.now() - start)}ms`;
  console.log(`${name} ${verdict} ${`${took} ${typeof detail === "string" ? detail : ""}`.replace(/\s+/g, " ").slice(0, 600)}`);
}
process.exit(good ? 0 : 1);

// where is the line of ours that failed.
function where(e) {
  const lines = (e.stack ?? "").split("\n").filter((l) => l.includes(".mjs:") && !l.includes("node_modules"));
  return lines[0]?.match(/[a-z]+\.mjs:\d+/)?.[0] ?? "?";
}
