/**
 * Token buckets, as `buckets` in `@sotto/protocol`'s limits.ts sets them. Time is monotonic, so that a clock step neither
 * opens nor closes a limit. Memory is bounded: when too many keys are known, the one unused for longest is forgotten, which
 * costs an attacker one request for each forgotten key.
 */
import { type Bucket, type BucketName, buckets } from "@sotto/protocol";

const keysPerBucketMax = 50_000;

interface Level {
  tokens: number;
  atMs: number;
}

export interface RateLimits {
  /** Takes a token: 0, or the milliseconds until there is one. */
  take(bucket: BucketName, key: string): number;
  /** What `take` would answer. */
  peek(bucket: BucketName, key: string): number;
  /** Gives a token back, for what turned out not to count. */
  refund(bucket: BucketName, key: string): void;
}

interface RateLimitOptions {
  /** Milliseconds that never go back. */
  readonly monotonicMs: () => number;
  /** Multiplies bursts and rates; 1 but for benchmarks. */
  readonly factor: number;
}

export function createRateLimits({ monotonicMs, factor }: RateLimitOptions): RateLimits {
  const levelsByBucket = new Map<BucketName, Map<string, Level>>();
  for (const name of Object.keys(buckets) as BucketName[]) levelsByBucket.set(name, new Map());

  const levelOf = (name: BucketName, key: string): Level => {
    const levels = levelsByBucket.get(name)!;
    const { burst, refillMs }: Bucket = buckets[name];
    const now = monotonicMs();
    let level = levels.get(key);
    if (level === undefined) {
      if (levels.size >= keysPerBucketMax) levels.delete(levels.keys().next().value!);
      level = { tokens: burst * factor, atMs: now };
      levels.set(key, level);
      return level;
    }
    level.tokens = Math.min(burst * factor, level.tokens + ((now - level.atMs) * factor) / refillMs);
    level.atMs = now;
    // Only where forgetting is near does the order of use matter; the path of every message stays a lookup.
    if (levels.size > keysPerBucketMax / 2) {
      levels.delete(key);
      levels.set(key, level);
    }
    return level;
  };

  const waitMs = (name: BucketName, level: Level) =>
    level.tokens >= 1 ? 0 : Math.ceil(((1 - level.tokens) * buckets[name].refillMs) / factor);

  return {
    take(name, key) {
      const level = levelOf(name, key);
      const wait = waitMs(name, level);
      if (wait === 0) level.tokens -= 1;
      return wait;
    },
    peek: (name, key) => waitMs(name, levelOf(name, key)),
    refund(name, key) {
      const level = levelOf(name, key);
      level.tokens = Math.min(buckets[name].burst * factor, level.tokens + 1);
    },
  };
}
