/** The headers of requests for blobs, as whoever asks wrote them: undefined for what says nothing that is understood. */

/** Of so many bytes, or from so many on. */
export function countOf(header: string | string[] | undefined): number | undefined {
  return typeof header === "string" && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}

/** The SHA-256 of a `Repr-Digest` (RFC 9530). */
export function digestOf(header: string | string[] | undefined): Uint8Array | undefined {
  const found = typeof header === "string" ? /(?:^|[,\s])sha-256=:([A-Za-z0-9+/]{43}=):/.exec(header) : null;
  return found ? new Uint8Array(Buffer.from(found[1]!, "base64")) : undefined;
}

/** One range of a `Range` header (RFC 9110 §14.2); what is none is no wish for one. */
export function rangeOf(
  header: string | undefined,
  size: number,
): { start: number; end: number } | "unsatisfiable" | undefined {
  const [, from = "", to = ""] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? "") ?? [];
  if (from === "" && to === "") return undefined;
  if (from === "") return Number(to) === 0 ? "unsatisfiable" : { start: Math.max(0, size - Number(to)), end: size - 1 };
  const start = Number(from);
  const end = to === "" ? size - 1 : Math.min(Number(to), size - 1);
  return start >= size || start > end ? "unsatisfiable" : { start, end };
}
