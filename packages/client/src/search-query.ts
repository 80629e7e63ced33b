/**
 * What a person types into the search: words, "phrases in quotes", and filters such as `from:@bob`, `in:@bob`, `has:link` and
 * `before:2026-01-31`. The last word may be unfinished. Days are those of this device's time zone.
 */
import { ClientError } from "./errors.ts";
import { type Term, termOf } from "./search-text.ts";

export interface Query {
  /** All of them must be in a message. */
  readonly terms: readonly Term[];
  /** As they were typed; of several one is enough. */
  readonly from: readonly string[];
  readonly in: readonly string[];
  /** All of them. */
  readonly has: readonly SearchedPart[];
  /** Milliseconds since 1970: from ≤ time < to. */
  readonly fromMs: number;
  readonly toMs: number;
}

/** What `has:` can ask for. */
export const searchedParts = ["file", "link"] as const;
export type SearchedPart = (typeof searchedParts)[number];

/** More than a person types; whoever pastes a book gets an answer at once. */
export const queryCharsMax = 1_000;
const queryTermsMax = 32;

const token = /(?:(?<filter>from|in|has|before|after|on):)?(?:"(?<quoted>[^"]*)(?<closing>"?)|(?<word>[^\s"]+))/giu;
const emptyFilter = /^(?:from|in|has|before|after|on):$/iu;

/** @throws ClientError `invalid-argument` */
export function parseQuery(typed: string): Query {
  if (typed.length > queryCharsMax)
    throw invalid(`the search has ${typed.length} characters, more than ${queryCharsMax}`);
  const terms: Term[] = [];
  const from: string[] = [];
  const within: string[] = [];
  const has: SearchedPart[] = [];
  let [fromMs, toMs] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  const end = typed.trimEnd().length;
  for (const { 0: whole, index, groups } of typed.matchAll(token)) {
    const value = groups!["quoted"] ?? groups!["word"] ?? "";
    const filter = groups!["filter"]?.toLowerCase();
    const empty = filter !== undefined && value.trim() === "" ? `${filter}:` : emptyFilter.exec(value)?.[0];
    if (empty !== undefined) throw invalid(`${empty} needs something right behind the colon`);
    switch (filter) {
      case "from":
        from.push(value);
        break;
      case "in":
        within.push(value);
        break;
      case "has":
        has.push(partOf(value));
        break;
      case "before":
      case "after":
      case "on": {
        const [begins, ends] = periodOf(filter, value);
        if (filter !== "before") fromMs = Math.max(fromMs, filter === "after" ? ends : begins);
        if (filter !== "after") toMs = Math.min(toMs, filter === "before" ? begins : ends);
        break;
      }
      default: {
        const isTyping = index + whole.length >= end && groups!["closing"] !== '"';
        const term = termOf(value, isTyping);
        if (term) terms.push(term);
      }
    }
  }
  if (terms.length > queryTermsMax) throw invalid(`the search has ${terms.length} words, more than ${queryTermsMax}`);
  const isEmpty = terms.length + from.length + within.length + has.length === 0;
  if (isEmpty && fromMs === Number.NEGATIVE_INFINITY && toMs === Number.POSITIVE_INFINITY)
    throw invalid("there is nothing to search for", "give a word, or a filter such as from:@bob");
  return { terms, from, in: within, has, fromMs, toMs };
}

function partOf(value: string): SearchedPart {
  const wanted = value.toLowerCase().replace(/s$/u, "");
  const part = searchedParts.find((each) => each === wanted);
  if (!part)
    throw invalid(`has:${value} is not known`, `it can be ${searchedParts.map((each) => `has:${each}`).join(" or ")}`);
  return part;
}

const date = /^(?<year>\d{4})(?:-(?<month>\d{1,2})(?:-(?<day>\d{1,2}))?)?$/u;

/** When a day, a month or a year begins, and when the next one does. */
function periodOf(filter: string, value: string): [fromMs: number, toMs: number] {
  const { year, month, day } = date.exec(value)?.groups ?? {};
  const wrong = () =>
    invalid(
      `${filter}:${value} is not a date`,
      `write it as ${filter}:2026-01-31, ${filter}:2026-01 or ${filter}:2026`,
    );
  if (year === undefined) throw wrong();
  const [y, m, d] = [Number(year), Number(month ?? 1) - 1, Number(day ?? 1)];
  const begins = new Date(y, m, d);
  if (begins.getFullYear() !== y || begins.getMonth() !== m || begins.getDate() !== d) throw wrong();
  const ends = day ? new Date(y, m, d + 1) : month ? new Date(y, m + 1, 1) : new Date(y + 1, 0, 1);
  return [begins.getTime(), ends.getTime()];
}

function invalid(problem: string, hint?: string): ClientError {
  return new ClientError("invalid-argument", `search: ${problem}`, hint === undefined ? {} : { hint });
}
