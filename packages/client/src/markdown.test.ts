import * as assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { type Block, type Inline, parseMarkdown } from "./markdown.ts";

/** The tree in a short form: `b(…)`, `i(…)`, `c(…)`, `a<href>(…)`, `/` for a break. */
const inline = (content: readonly Inline[]): string =>
  content
    .map((one) => {
      switch (one.kind) {
        case "text":
          return one.text;
        case "break":
          return "/";
        case "code":
          return `c(${one.text})`;
        case "link":
          return `a<${one.href}>(${inline(one.content)})`;
        default:
          return `${one.kind[0]}(${inline(one.content)})`;
      }
    })
    .join("");

const block = (one: Block): string => {
  switch (one.kind) {
    case "paragraph":
      return `p(${inline(one.content)})`;
    case "code":
      return `pre${one.language === undefined ? "" : `<${one.language}>`}(${one.text})`;
    case "quote":
      return `q(${one.blocks.map(block).join("")})`;
    case "list":
      return `${one.start === undefined ? "ul" : `ol<${one.start}>`}(${one.items.map((item) => `[${item.map(block).join("")}]`).join("")})`;
  }
};

const short = (text: string) => parseMarkdown(text).map(block).join("");

const cases: Record<string, [text: string, tree: string][]> = {
  "bold, italic and code": [
    ["**bold** and *italic* and _italic_ and __bold__", "p(b(bold) and i(italic) and i(italic) and b(bold))"],
    ["***both***", "p(b(i(both)))"],
    ["**bold with *italic* inside**", "p(b(bold with i(italic) inside))"],
    ["*(in brackets)*, *at the end*.", "p(i((in brackets)), i(at the end).)"],
    ["`a*b*c` and ``a`b``", "p(c(a*b*c) and c(a`b))"],
    ["`` ` ``", "p(c(`))"],
  ],
  "what is not closed, or stands in a word or between spaces, is what was typed": [
    ["2 * 3 * 4", "p(2 * 3 * 4)"],
    ["snake_case_name and 2*3*4", "p(snake_case_name and 2*3*4)"],
    ["*open", "p(*open)"],
    ["**open *and* more", "p(**open i(and) more)"],
    ["`open", "p(`open)"],
    ["\\```", "p(```)"],
    ["``a`", "p(``a`)"],
    ["**** and *****", "p(**** and *****)"],
    ["* ", "p(* )"],
    ["\\*not\\* \\[x\\](y) \\a \\", "p(*not* [x](y) \\a \\)"],
  ],
  links: [
    ["[the plan](https://example.org/plan)", "p(a<https://example.org/plan>(the plan))"],
    ["see https://example.org/a_(b)?q=1.", "p(see a<https://example.org/a_(b)?q=1>(https://example.org/a_(b)?q=1).)"],
    ["(http://example.org)", "p((a<http://example.org>(http://example.org)))"],
    ["mailto:bob@example.org!", "p(a<mailto:bob@example.org>(mailto:bob@example.org)!)"],
    ["[**bold**](https://example.org)", "p(a<https://example.org>(b(bold)))"],
    ["[https://a.example](https://b.example)", "p(a<https://b.example>(https://a.example))"],
    ["[](https://example.org)", "p(a<https://example.org>(https://example.org))"],
    ["**https://example.org**", "p(b(a<https://example.org>(https://example.org)))"],
  ],
  "links lead nowhere else": [
    ["[x](javascript:alert(1))", "p([x](javascript:alert(1)))"],
    ["[x](data:text/html,hi)", "p([x](data:text/html,hi))"],
    ["[x](file:///etc/passwd) [x](//example.org) [x](#a)", "p([x](file:///etc/passwd) [x](//example.org) [x](#a))"],
    ["javascript:alert(1) xhttps://example.org https://", "p(javascript:alert(1) xhttps://example.org https://)"],
    ["[x](https://example.org/\u202egpj.exe)", "p([x](https://example.org/\u202egpj.exe))"],
    ["https://example.org/\u200bx", "p(https://example.org/\u200bx)"],
  ],
  blocks: [
    ["one\ntwo\n\nthree", "p(one/two)p(three)"],
    ["```ts\nconst a = 1;\n\n*b*\n```\nafter", "pre<ts>(const a = 1;\n\n*b*)p(after)"],
    ["~~~\n```\n~~~", "pre(```)"],
    ["```\nnot closed", "pre(not closed)"],
    ["- one\n- two\n  more\n- three", "ul([p(one)][p(two/more)][p(three)])"],
    ["3. three\n4) four\n\nafter", "ol<3>([p(three)][p(four)])p(after)"],
    ["- a\n  - b\n  - c\n- d", "ul([p(a)ul([p(b)][p(c)])][p(d)])"],
    ["> quoted\n> > twice\nnot", "q(p(quoted)q(p(twice)))p(not)"],
    ["> - in a quote", "q(ul([p(in a quote)]))"],
    ["-5 degrees\n1.5 metres\n-", "p(-5 degrees/1.5 metres/-)"],
    ["- a\n1. b", "ul([p(a)])ol<1>([p(b)])"],
    ["<b>no HTML</b> &amp;", "p(<b>no HTML</b> &amp;)"],
    ["", ""],
    ["\n \r\n", ""],
  ],
};

for (const [title, rows] of Object.entries(cases)) {
  test(title, () => {
    for (const [text, tree] of rows) assert.equal(short(text), tree, JSON.stringify(text));
  });
}

const pieces = fc
  .array(
    fc.constantFrom(
      ..."*_`[]()>-\\ \n".split(""),
      ..."**|__|***|```|~~~|  |- |1. |> |](|https://a.b/|mailto:x|javascript:|a|word|é|👍|\u202e|\ud800".split("|"),
    ),
    { maxLength: 200 },
  )
  .map((list) => list.join(""));

test("a fence with more than a language behind it is what was typed", () => {
  for (const text of ["```é", "``` two words", "~~~ so it goes ~~~"])
    assert.equal(parseMarkdown(text)[0]?.kind, "paragraph");
  assert.equal(parseMarkdown("```ts \ncode\n```")[0]?.kind, "code");
});

test("any text is a tree of bounded depth, in which every letter and digit is still there, in order", () => {
  const depth = (content: readonly Inline[]): number =>
    Math.max(0, ...content.map((one) => ("content" in one ? 1 + depth(one.content) : 0)));
  const blockDepth = (blocks: readonly Block[]): number =>
    Math.max(
      0,
      ...blocks.map((one) =>
        one.kind === "quote"
          ? 1 + blockDepth(one.blocks)
          : one.kind === "list"
            ? 1 + Math.max(...one.items.map(blockDepth))
            : one.kind === "paragraph"
              ? depth(one.content)
              : 0,
      ),
    );
  fc.assert(
    fc.property(fc.oneof(pieces, fc.string({ unit: "binary", maxLength: 300 })), (text) => {
      const blocks = parseMarkdown(text);
      assert.ok(blockDepth(blocks) <= 40);
      const hrefs = JSON.stringify(blocks).matchAll(/"href":"([^"]*)"/g);
      for (const [, href = ""] of hrefs) assert.match(href, /^(?:https?:\/\/|mailto:)/i);
    }),
    { numRuns: 20_000, plugins: [fc.interruptAfterTimeLimit(1_500)] },
  );
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom("*", "_", "`", "[", "]", "(", " ", "\n", "> ", "a", "b", "c", "é"), { maxLength: 80 }),
      (list) => {
        const text = list.join("");
        const letters = (one: string) => one.replace(/[^abcé]/g, "");
        const shown = JSON.stringify(parseMarkdown(text).map((one) => textIn(one)));
        assert.equal(letters(shown), letters(text));
      },
    ),
    { numRuns: 5_000, plugins: [fc.interruptAfterTimeLimit(1_000)] },
  );
});

function textIn(one: Block): string {
  const inside = (content: readonly Inline[]): string =>
    content
      .map((each) => ("content" in each ? inside(each.content) : each.kind === "break" ? "\n" : each.text))
      .join("");
  if (one.kind === "paragraph") return inside(one.content);
  if (one.kind === "code") return `${one.language ?? ""}\n${one.text}`;
  return (one.kind === "quote" ? one.blocks : one.items.flat()).map(textIn).join("");
}

test("hostile texts of 200 kB come to an end: what took the square of their length would not within this test", () => {
  const length = 200_000;
  const hostile = [
    ..."*_`[(>\\h".split(""),
    "*a ",
    "[a](",
    "**a *b ",
    "`a``b```c",
    "- ",
    "> ",
    "> > > > - ",
    "https://a.b/",
    "](",
    "aaaaaaaaaa_*",
    "[a]",
    "*a* ",
    "- a\n",
    "```\n",
    "- a\n\n",
    "> - 1. ",
  ].map((piece) => piece.repeat(length / piece.length));
  hostile.push(
    "[".repeat(length / 2) + "](https://a.b)".repeat(length / 20),
    `[${"*a* ".repeat(length / 4)}](https://a.b)`,
    `https://a.b/${")".repeat(length)}`,
    `https://a.b/${".".repeat(length)}`,
    `**${"*a* ".repeat(length / 4)}**`,
  );
  for (const text of hostile) parseMarkdown(text);
});
