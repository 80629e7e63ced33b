/** In place of the client's own `checkPassword`: the same people take the same passwords in every world, so each is judged once. */
import { checkPassword as judge } from "@sotto/client/testing";

const strong = new Set<string>();

export function checkPassword(password: string, name: string): void {
  const question = `${name} ${password}`;
  if (strong.has(question)) return;
  judge(password, name);
  strong.add(question);
}
