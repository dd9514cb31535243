/**
 * Draws 60 sentences from the docs, from what users see and from docstrings, for a reader who judges whether a native
 * reader would stop at them: `./test/run sentences [COMMIT]`. The commit's id is the seed, so that a draw can be repeated
 * and not chosen.
 * @module
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

type Sentence = { readonly text: string; readonly file: string; readonly line: number };

const drawn = 60;
const root = join(import.meta.dirname, '..', '..');

/** Sentences of at least four words in a paragraph, each with the line on which it begins. */
function sentences(paragraph: string, file: string, firstLine: number): Sentence[] {
  const found: Sentence[] = [];
  for (const match of paragraph.matchAll(/\S[\s\S]*?(?:[.!?](?=\s+["'`(]?[A-Z[]|\s*$)|$)/g)) {
    const text = match[0].replace(/\s+/g, ' ').trim();
    const declaration = /^\w[\w *]*\([^)]*\)$/.test(text);
    if (declaration || text.split(' ').length < 4 || !/[a-z]{2} [a-z]{2}/.test(text)) continue;
    found.push({ text, file, line: firstLine + paragraph.slice(0, match.index).split('\n').length - 1 });
  }
  return found;
}

/** Prose of a Markdown file: paragraphs, list items and table cells, without code blocks and made tables. */
function fromMarkdown(file: string): Sentence[] {
  const whole = readFileSync(join(root, file), 'utf8');
  // The table of the style guide shows what not to write.
  const text = (file.endsWith('STYLE.md') ? whole.replace(/^\|.*$/gm, '') : whole)
    .replace(/```[\s\S]*?```|<!--[\s\S]*?-->/g, (block) => block.replace(/[^\n]/g, ''))
    .replace(/^#.*$/gm, '');
  const found: Sentence[] = [];
  let paragraph = '';
  let begin = 1;
  const close = () => {
    found.push(...sentences(paragraph, file, begin));
    paragraph = '';
  };
  for (const [index, line] of text.split('\n').entries()) {
    if (line.startsWith('|')) {
      close();
      for (const cell of line.split('|')) found.push(...sentences(cell, file, index + 1));
      continue;
    }
    const item = /^\s*(?:[-*]|\d+\.)\s+/.exec(line)?.[0];
    if (line.trim() === '' || item !== undefined) close();
    if (paragraph === '') begin = index + 1;
    paragraph += `${item === undefined ? line : line.slice(item.length)}\n`;
  }
  close();
  return found;
}

/** Docstrings, and strings that read like a sentence, of a source file. */
function fromSource(file: string): Sentence[] {
  const text = readFileSync(join(root, file), 'utf8');
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest);
  const lineAt = (at: number) => source.getLineAndCharacterOfPosition(at).line + 1;
  const found: Sentence[] = [];
  for (const match of text.matchAll(/\/\*\*[\s\S]*?\*\//g)) {
    const body = match[0].replace(/^\/\*\*|\*\/$/g, '  ').replace(/^\s*\* ?/gm, (start) => ' '.repeat(start.length));
    let offset = 0;
    for (const part of body.split(/(?=@(?:param|returns|throws|module)|(?:Promise|Trust|Limits|Source|Proof):)/)) {
      const prose = part.replace(/^(?:@\w+(?:\s+\w+\s+-)?|\w+:)/, (tag) => ' '.repeat(tag.length));
      const before = body.slice(0, offset).split('\n').length - 1;
      if (!/^(?:@module|Source:|Proof:)/.test(part))
        found.push(...sentences(prose, file, lineAt(match.index) + before));
      offset += part.length;
    }
  }
  const visit = (node: ts.Node): void => {
    if (ts.isTemplateExpression(node) || ts.isStringLiteralLike(node)) {
      const at = node.getStart(source);
      const words = text
        .slice(at + 1, node.end - 1)
        .replace(/\\n/g, '\n')
        .replace(/\\'/g, "'");
      found.push(...sentences(words, file, lineAt(at)));
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const commit = execFileSync('git', ['rev-parse', process.argv[2] ?? 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();
const list = (folder: string, ending: string) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => join(folder, name))
    .sort();
const all = [
  ...['README.md', 'SECURITY.md', 'CHANGELOG.md', 'CONTRIBUTING.md', ...list('docs', '.md')].flatMap(fromMarkdown),
  ...list('src', '.ts').flatMap(fromSource),
];
const rank = ({ text, file }: Sentence) => createHash('sha256').update(`${commit}\0${file}\0${text}`).digest('hex');
const chosen = [...new Map(all.map((sentence) => [`${sentence.file}\0${sentence.text}`, sentence])).values()]
  .map((sentence) => ({ sentence, rank: rank(sentence) }))
  .sort((a, b) => (a.rank < b.rank ? -1 : 1))
  .slice(0, drawn);
console.log(`commit ${commit}: ${drawn} of ${all.length} sentences\n`);
for (const [index, { sentence }] of chosen.entries())
  console.log(`${String(index + 1).padStart(2)}. ${sentence.text}\n    ${sentence.file}:${sentence.line}`);
