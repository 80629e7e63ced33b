/**
 * Log lines: one per event, for people (`pretty`) or machines (`json`). No user data ever: no names, no content, ids only as
 * their first eight digits, addresses never whole. Whoever calls passes plain values; a value that is no plain value
 * is a mistake that the types refuse.
 */
export type LogLevel = "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Log {
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

interface LogOptions {
  readonly format: "pretty" | "json";
  /** Takes one line, without the line break. */
  readonly write: (line: string) => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Whether `pretty` may use colours. */
  readonly colours?: boolean;
}

const colourByLevel = { info: "", warn: "\u001b[33m", error: "\u001b[31m" } as const;
const dim = "\u001b[2m";
const plain = "\u001b[0m";

export function createLog({ format, write, now, colours = false }: LogOptions): Log {
  const line = (level: LogLevel, event: string, fields: LogFields = {}) => {
    const at = new Date(now()).toISOString();
    if (format === "json") return write(JSON.stringify({ at, level, event, ...fields }));
    let details = "";
    for (const [key, value] of Object.entries(fields))
      if (value !== undefined) details += `  ${key}=${formatValue(value)}`;
    const time = at.slice(11, 19);
    const mark = level === "info" ? "" : `${level}: `;
    write(
      colours
        ? `${dim}${time}${plain} ${colourByLevel[level]}${mark}${event}${plain}${dim}${details}${plain}`
        : `${time} ${mark}${event}${details}`,
    );
  };
  return {
    info: (event, fields) => line("info", event, fields),
    warn: (event, fields) => line("warn", event, fields),
    error: (event, fields) => line("error", event, fields),
  };
}

/** Says nothing; for tests. */
export const silentLog: Log = { info() {}, warn() {}, error() {} };

/** As much of an id in hexadecimal as a log line may show: enough to follow one device, too little to look it up. */
export const shortKey = (key: string): string => key.slice(0, 8);

/** The class, code and place of an error, without its message, which may quote what a person sent. */
export function describeError(error: unknown): { error: string; at?: string } {
  if (!(error instanceof Error)) return { error: typeof error };
  const code = "code" in error && typeof error.code === "string" ? ` ${error.code}` : "";
  const frame = error.stack?.split("\n").find((text) => /^\s+at /.test(text));
  const at = frame?.match(/([\w.-]+\.[jt]s:\d+)/)?.[1];
  return { error: `${error.name}${code}`, ...(at === undefined ? {} : { at }) };
}

/**
 * How store, delivery and retention report what no caller can be told: an event, with an error among its details or with
 * counts.
 */
export function reportTo(log: Log): (event: string, details: Readonly<Record<string, unknown>>) => void {
  return (event, { error, ...rest }) => {
    const counts: Record<string, number> = {};
    for (const [key, value] of Object.entries(rest)) if (typeof value === "number") counts[key] = value;
    const text = event.replaceAll("-", " ");
    if (error === undefined) log.info(text, counts);
    else log.warn(text, { ...counts, ...describeError(error) });
  };
}

function formatValue(value: string | number | boolean): string {
  const text = String(value);
  return /^[\w.:/@+-]*$/.test(text) ? text : JSON.stringify(text);
}
