// What the drivers share.

import { z } from "zod";

export const user = (content) => [{ role: "user", content }];

export const Person = z.object({ name: z.string(), age: z.number().int(), tags: z.array(z.string()) });

export const weather = {
  name: "get_weather",
  description: "The weather of a city",
  parameters: {
    type: "object",
    properties: { city: { type: "string" }, days: { type: "integer" } },
    required: ["city", "days"],
  },
};

/** Aborted after so long; never when the order does not say so. */
export const leaving = (o) => (o.leave_ms ? AbortSignal.timeout(o.leave_ms) : undefined);

/** What the frameworks lack, whose subject is text, each with the reason. */
export const textAlone = (reason) =>
  Object.fromEntries([
    "models", "model", "moderate", "post", "speak", "transcribe", "transcribe-stream", "translate",
    "realtime", "respond-socket",
  ].map((verb) => [verb, reason]));
