// A driver: does the orders on stdin with one client, as ../doc.go describes.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

// A client's module exports verbs, by name; packages; failure, which says what is
// known of an error, or nothing of one that is not the client's; lacks and blind.
const client = await import(`./${process.argv[2]}.mjs`);

const version = (name) =>
  JSON.parse(readFileSync(new URL(`./node_modules/${name}/package.json`, import.meta.url))).version;

const about = () => ({
  versions: Object.fromEntries(client.packages.map((name) => [name, version(name)])),
  lacks: client.lacks,
  blind: client.blind,
});

async function perform(order) {
  const answer = {};
  try {
    await client.verbs[order.do](order, answer);
  } catch (e) {
    const failure = client.failure(e);
    if (failure) answer.error = { class: e.constructor.name, message: e.message, ...failure };
    else answer.bug = e.stack ?? String(e);
  }
  return answer;
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const order = JSON.parse(line);
  const answer = order.do === "about" ? about() : await perform(order);
  process.stdout.write(JSON.stringify(answer) + "\n");
}
