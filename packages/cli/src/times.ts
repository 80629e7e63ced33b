/** Times for people: local, and no longer than needed to be clear. JSON carries RFC 3339 and never comes here. */

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** "14:03" today, "21 Nov 14:03" this year, "2025-11-21 14:03" before. */
export function shortTime(rfc3339: string, nowMs: number): string {
  const at = new Date(rfc3339);
  if (Number.isNaN(at.getTime())) return "?";
  const now = new Date(nowMs);
  const clock = `${twoDigits(at.getHours())}:${twoDigits(at.getMinutes())}`;
  if (at.getFullYear() !== now.getFullYear()) {
    return `${at.getFullYear()}-${twoDigits(at.getMonth() + 1)}-${twoDigits(at.getDate())} ${clock}`;
  }
  if (at.getMonth() !== now.getMonth() || at.getDate() !== now.getDate()) {
    return `${at.getDate()} ${months[at.getMonth()]} ${clock}`;
  }
  return clock;
}

function twoDigits(number: number): string {
  return String(number).padStart(2, "0");
}
