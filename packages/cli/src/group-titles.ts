/** In which group a message was written, where messages of several conversations stand together. */
import type { Client, Message } from "@sotto/client";

export async function groupTitles(client: Client): Promise<(message: Message) => string | undefined> {
  const groups = (await client.conversations()).filter(({ kind }) => kind === "group");
  const titles = new Map(groups.map(({ conversation, title }) => [conversation, title]));
  return ({ conversation }) => titles.get(conversation);
}
