/**
 * What `node:assert/strict` is inside a browser: the part of it that suites for both worlds use, with the same meaning.
 * Anything else fails the bundle, or the test, with the name of what is missing.
 */

export class AssertionError extends Error {
  override readonly name = "AssertionError";
  readonly code = "ERR_ASSERTION";
}

type Expected = RegExp | (new (...args: never[]) => Error) | ((error: unknown) => boolean) | object;

function refuse(message: string | Error | undefined, otherwise: string): never {
  if (message instanceof Error) throw message;
  throw new AssertionError(message ?? otherwise);
}

export function ok(value: unknown, message?: string | Error): asserts value {
  if (!value) refuse(message, `expected a truthy value, got ${show(value)}`);
}

export function fail(message?: string | Error): never {
  refuse(message, "failed");
}

export function equal(actual: unknown, expected: unknown, message?: string | Error): void {
  if (!Object.is(actual, expected)) refuse(message, `expected ${show(expected)}, got ${show(actual)}`);
}

export function notEqual(actual: unknown, unwanted: unknown, message?: string | Error): void {
  if (Object.is(actual, unwanted)) refuse(message, `expected anything but ${show(unwanted)}`);
}

export function deepEqual(actual: unknown, expected: unknown, message?: string | Error): void {
  if (!same(actual, expected)) refuse(message, `expected ${show(expected)}, got ${show(actual)}`);
}

export function notDeepEqual(actual: unknown, unwanted: unknown, message?: string | Error): void {
  if (same(actual, unwanted)) refuse(message, `expected anything but ${show(unwanted)}`);
}

export function match(actual: string, pattern: RegExp, message?: string | Error): void {
  if (!pattern.test(actual)) refuse(message, `expected ${show(actual)} to match ${String(pattern)}`);
}

export function doesNotMatch(actual: string, pattern: RegExp, message?: string | Error): void {
  if (pattern.test(actual)) refuse(message, `expected ${show(actual)} not to match ${String(pattern)}`);
}

export function throws(action: () => unknown, expected?: Expected, message?: string): void {
  try {
    action();
  } catch (error) {
    checkError(error, expected, message);
    return;
  }
  refuse(message, "expected it to throw, and it did not");
}

export async function rejects(
  action: Promise<unknown> | (() => Promise<unknown>),
  expected?: Expected,
  message?: string,
): Promise<void> {
  try {
    await (typeof action === "function" ? action() : action);
  } catch (error) {
    checkError(error, expected, message);
    return;
  }
  refuse(message, "expected it to reject, and it did not");
}

export async function doesNotReject(action: Promise<unknown> | (() => Promise<unknown>)): Promise<void> {
  await (typeof action === "function" ? action() : action);
}

export const strictEqual = equal;
export const notStrictEqual = notEqual;
export const deepStrictEqual = deepEqual;
export const notDeepStrictEqual = notDeepEqual;

function assert(value: unknown, message?: string | Error): asserts value {
  ok(value, message);
}

export default Object.assign(assert, {
  AssertionError,
  ok,
  fail,
  equal,
  notEqual,
  strictEqual,
  notStrictEqual,
  deepEqual,
  notDeepEqual,
  deepStrictEqual,
  notDeepStrictEqual,
  match,
  doesNotMatch,
  throws,
  rejects,
  doesNotReject,
});

function checkError(error: unknown, expected: Expected | undefined, message: string | undefined): void {
  if (expected === undefined) return;
  if (expected instanceof RegExp) match(String(error), expected, message);
  else if (typeof expected === "function") {
    const isClass = expected === Error || expected.prototype instanceof Error;
    const accepted = isClass ? error instanceof expected : (expected as (error: unknown) => boolean)(error);
    if (!accepted) throw new AssertionError(message ?? `it threw something else: ${show(error)}`, { cause: error });
  } else {
    for (const [key, value] of Object.entries(expected)) {
      const actual = (error as Record<string, unknown>)[key];
      if (value instanceof RegExp && typeof actual === "string") match(actual, value, message);
      else deepEqual(actual, value, message ?? `the error's ${key}: expected ${show(value)}, got ${show(actual)}`);
    }
  }
}

/** Strict deep equality: the same prototypes, own enumerable keys, elements and entries. */
function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (a instanceof Date) return a.getTime() === (b as Date).getTime();
  if (a instanceof RegExp) return b instanceof RegExp && String(a) === String(b);
  if (a instanceof ArrayBuffer) return same(new Uint8Array(a), new Uint8Array(b as ArrayBuffer));
  if (a instanceof Map) {
    const other = b as Map<unknown, unknown>;
    return a.size === other.size && [...a].every(([key, value]) => other.has(key) && same(value, other.get(key)));
  }
  if (a instanceof Set) {
    const others = [...(b as Set<unknown>)];
    return a.size === others.length && [...a].every((item) => others.some((other) => same(item, other)));
  }
  if (a instanceof Error && (a.message !== (b as Error).message || a.name !== (b as Error).name)) return false;
  const keys = Reflect.ownKeys(a).filter((key) => Object.prototype.propertyIsEnumerable.call(a, key));
  const others = Reflect.ownKeys(b).filter((key) => Object.prototype.propertyIsEnumerable.call(b, key));
  return (
    keys.length === others.length &&
    (!Array.isArray(a) || a.length === (b as unknown[]).length) &&
    keys.every((key) => Object.hasOwn(b, key) && same(Reflect.get(a, key), Reflect.get(b, key)))
  );
}

function show(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Error) return String(value);
  if (value instanceof Uint8Array) return `Uint8Array ${value.toHex()}`;
  const text = JSON.stringify(value, (_, inner: unknown) => {
    if (typeof inner === "bigint") return `${inner}n`;
    if (inner instanceof Uint8Array) return `Uint8Array ${inner.toHex()}`;
    if (inner instanceof Map || inner instanceof Set) return [...inner];
    return inner;
  });
  return text ?? String(value);
}
