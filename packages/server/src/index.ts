/** What `sotto serve`, `sotto invite`, `sotto admin` and tests use of the server. */
export { type Config, type ConfigInput, readConfig, settings } from "./config.ts";
export { askServer, type ControlAnswers, type ControlRequest, type ServerStatus } from "./control.ts";
export { createInviteLink } from "./invite-command.ts";
export { createLog, type Log, silentLog } from "./log.ts";
export { deleteReports, readReports, reportsPerPage, type ShownReport } from "./reports.ts";
export { runUntilStopped } from "./run.ts";
export { createServer, type Server, type Surroundings } from "./server.ts";
export { ServerError, type ServerErrorCode } from "./server-error.ts";
