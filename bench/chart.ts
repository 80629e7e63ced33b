/**
 * The picture of the results: a few figures side by side as bars, each with its number. A filled bar is a server whose word
 * "accepted" means "on disk", an outlined one promises less. Plain SVG with title and description, on a background of its own
 * that follows the reader's light or dark screen.
 */
import { short } from "./harness/column.ts";
import { type Results, seenOf, type Server } from "./harness/results.ts";

interface Panel {
  readonly figure: string;
  readonly column: string;
  readonly title: string;
  readonly lessIsBetter?: true;
}

const panels: readonly Panel[] = [
  { figure: "A", column: "delivered_per_server_cpu_s", title: "messages delivered, 500 pairs with one in flight" },
  { figure: "a", column: "delivered_per_server_cpu_s", title: "messages delivered, 50 pairs with ten in flight" },
  { figure: "B", column: "accepted_per_server_cpu_s", title: "messages accepted for people who are away" },
  { figure: "c", column: "deliveries_per_server_cpu_s", title: "deliveries into a conversation of 100" },
  { figure: "r", column: "logins_per_server_cpu_s", title: "devices that come back after a cut" },
  { figure: "A", column: "half_p99_ms", title: "p99 of delivery at half of the own peak, ms", lessIsBetter: true },
  {
    figure: "d",
    column: "rss_per_connection_kib_2000",
    title: "memory of an idle connection, KiB",
    lessIsBetter: true,
  },
  { figure: "e", column: "rss_empty_mib", title: "memory of an empty server, MiB", lessIsBetter: true },
];

const width = 880;
const margin = 24;
const gap = 40;
const panelWidth = (width - 2 * margin - gap) / 2;
const nameWidth = 84;
const valueWidth = 62;
const rowHeight = 20;
const titleHeight = 40;

const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** Whether an accepted message survives a power cut, by the server's own words. */
const isDurable = ({ guarantee }: Server): boolean =>
  /fsync before the (?:acknowledgement|answer)/.test(guarantee) && !/no fsync/.test(guarantee);

export function chart(results: Results): string {
  const shown = panels
    .map((panel) => ({ ...panel, bars: barsOf(results, panel) }))
    .filter(({ bars }) => bars.length > 0);
  const bars = Math.max(1, ...shown.map((panel) => panel.bars.length));
  const panelHeight = titleHeight + bars * rowHeight + 16;
  const head = 84;
  const height = head + Math.ceil(shown.length / 2) * panelHeight + 8;
  const sentences = shown.map(
    ({ title, bars }) => `${title}: ${bars.map(({ name, value }) => `${name} ${short(value)}`).join(", ")}`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="t d" font-family="system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif" font-size="13">
<title id="t">Sotto beside other servers; rates are per second of server CPU</title>
<desc id="d">${escape(sentences.join(". "))}.</desc>
<style>
.ground{fill:#fff}.ink{fill:#1c1f26}.soft{fill:#59606c}.own{fill:#17694a;stroke:#17694a}.peer{fill:#6b7280;stroke:#6b7280}.open{fill:none}
@media (prefers-color-scheme:dark){.ground{fill:#16181d}.ink{fill:#e6e8ec}.soft{fill:#a3abb8}.own{fill:#5ec79b;stroke:#5ec79b}.peer{fill:#98a1ae;stroke:#98a1ae}.open{fill:none}}
</style>
<rect class="ground" width="${width}" height="${height}" rx="8"/>
<text class="ink" x="${margin}" y="34" font-size="17" font-weight="600">Sotto beside other servers; rates are per second of server CPU</text>
<rect class="peer" x="${margin}" y="50" width="22" height="11"/>
<text class="soft" x="${margin + 28}" y="60">an accepted message is on disk</text>
<rect class="peer open" x="${margin + 240}" y="50" width="22" height="11"/>
<text class="soft" x="${margin + 268}" y="60">it may be lost in a power cut, or is not stored at all</text>
${shown.map((panel, i) => drawPanel(panel, margin + (i % 2) * (panelWidth + gap), head + Math.floor(i / 2) * panelHeight)).join("\n")}
</svg>
`;
}

interface Bar {
  readonly name: string;
  readonly value: number;
  readonly isDurable: boolean;
}

function barsOf(results: Results, { figure, column }: Panel): Bar[] {
  return Object.entries(results.servers).flatMap(([name, server]) => {
    const seen = seenOf(results, figure, name, column);
    return seen === undefined ? [] : [{ name, value: seen.median, isDurable: isDurable(server) }];
  });
}

function drawPanel({ title, lessIsBetter, bars }: Panel & { bars: readonly Bar[] }, x: number, y: number): string {
  const most = Math.max(...bars.map(({ value }) => value));
  const room = panelWidth - nameWidth - valueWidth;
  const rows = bars.map(({ name, value, isDurable }, i) => {
    const top = y + titleHeight - 8 + i * rowHeight;
    const length = Math.max(1, (value / most) * room).toFixed(1);
    const kind = `${name === "sotto" ? "own" : "peer"}${isDurable ? "" : " open"}`;
    const weight = name === "sotto" ? ' font-weight="600"' : "";
    return `<text class="ink" x="${x}" y="${top + 11}"${weight}>${escape(name)}</text>
<rect class="${kind}" x="${x + nameWidth}" y="${top}" width="${length}" height="13"/>
<text class="ink" x="${(x + nameWidth + Number(length) + 6).toFixed(1)}" y="${top + 11}"${weight}>${short(value)}</text>`;
  });
  const hint = lessIsBetter ? "less is better" : "more is better";
  return `<text class="ink" x="${x}" y="${y + 14}" font-weight="600">${escape(title)}</text>
<text class="soft" x="${x + panelWidth}" y="${y + 14}" text-anchor="end" font-size="11">${hint}</text>
${rows.join("\n")}`;
}
