/** A time to come, as people write it: `18:30`, `tomorrow 9:00`, `in 2h`, or RFC 3339. Without a zone it is this machine's. */
import { readDuration } from "./duration.ts";

/** The words at the beginning of a command line that say when, and how many they are; undefined if they say nothing. */
export function whenIn(words: readonly string[], nowMs: number): { at: number; count: number } | undefined {
  // Of "tomorrow 9:00" and "in 2h" the shell makes two words, unless they are quoted.
  for (const count of [2, 1]) {
    if (words.length < count) continue;
    const at = readWhen(words.slice(0, count).join(" "), nowMs);
    if (at !== undefined) return { at, count };
  }
  return undefined;
}

/** Milliseconds since 1970; undefined for what is none of these. A time of day that is over today is tomorrow's. */
export function readWhen(text: string, nowMs: number): number | undefined {
  const words = text.trim().toLowerCase();
  const [, duration] = /^in (.+)$/.exec(words) ?? [];
  if (duration !== undefined) {
    const durationMs = readDuration(duration);
    return durationMs === undefined ? undefined : nowMs + durationMs;
  }
  const [, day, hours, minutes] = /^(?:(today|tomorrow) )?(\d{1,2}):(\d{2})$/.exec(words) ?? [];
  if (hours !== undefined && minutes !== undefined) {
    const at = timeOfDay(nowMs, day === "tomorrow" ? 1 : 0, Number(hours), Number(minutes));
    return at !== undefined && day === undefined && at <= nowMs
      ? timeOfDay(nowMs, 1, Number(hours), Number(minutes))
      : at;
  }
  if (!/^\d{4}-\d{2}-\d{2}[t ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(z|[+-]\d{2}:\d{2})?$/.test(words)) return undefined;
  const at = Date.parse(words.toUpperCase().replace(" ", "T"));
  return Number.isNaN(at) ? undefined : at;
}

function timeOfDay(nowMs: number, daysAhead: number, hours: number, minutes: number): number | undefined {
  if (hours > 23 || minutes > 59) return undefined;
  const at = new Date(nowMs);
  at.setDate(at.getDate() + daysAhead);
  at.setHours(hours, minutes, 0, 0);
  return at.getTime();
}
