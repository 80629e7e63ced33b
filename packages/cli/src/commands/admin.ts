/**
 * `sotto admin reports`, on the server's machine: the messages that people reported. The server has checked that the named person's
 * device wrote each; what it says is read out here, by the operator's own program.
 */
import { readReportedMessage } from "@sotto/client";
import type { Context } from "../context.ts";
import { serverFolder } from "../home-folder.ts";
import { printable } from "../printable.ts";
import { shortTime } from "../times.ts";

export async function reports(context: Context, options: { delete?: number; data?: string }): Promise<void> {
  const { deleteReports, readReports, reportsPerPage } = await import("@sotto/server");
  const { output, environment } = context;
  const data = serverFolder(options.data, environment.variables);
  if (options.delete !== undefined) {
    const { deleted } = await deleteReports(data, options.delete);
    await output.row({ deleted }, () => [`put away ${deleted} ${deleted === 1 ? "report" : "reports"}`]);
    return;
  }
  let after = 0;
  for (;;) {
    const page = await readReports(data, after);
    for (const { number, reportedAt, reporter, writtenBy, device, proof, note } of page) {
      const message = readReportedMessage(proof);
      const at = new Date(reportedAt).toISOString();
      const row = {
        number,
        reportedAt: at,
        reporter: `@${reporter}`,
        writtenBy: `@${writtenBy}`,
        device,
        ...message,
        note,
        proof,
      };
      await output.row(row, () => [
        `${number}  ${shortTime(at, environment.now())}  @${printable(reporter)} reports @${printable(writtenBy)}`,
        `    ${printable(message?.text ?? `(${message?.kind ?? "unreadable"})`)}`,
        ...(note === "" ? [] : [`    note: ${printable(note)}`]),
      ]);
      after = number;
    }
    if (page.length < reportsPerPage) break;
  }
  if (after === 0) output.note("nothing has been reported");
}
