/** As many entries of a chain as fit one reply; whoever wants the rest asks `getChains` from where they end. */

// CBOR's length before each entry.
const entryOverheadBytes = 8;

export function fittingEntries(
  entries: readonly Uint8Array[],
  bytesMax: number,
): { entries: Uint8Array[]; bytesLeft: number } {
  const fitting: Uint8Array[] = [];
  let bytesLeft = bytesMax;
  for (const entry of entries) {
    if (bytesLeft < entry.length + entryOverheadBytes) return { entries: fitting, bytesLeft: 0 };
    bytesLeft -= entry.length + entryOverheadBytes;
    fitting.push(entry);
  }
  return { entries: fitting, bytesLeft };
}
