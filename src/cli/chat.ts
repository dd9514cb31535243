/**
 * `kwyre chat`: a conversation in the terminal. It lives in this process's memory and ends with it: no history file.
 * The server keeps its sealed state for a while (`--continue`), and the chat says for how long when a turn went on from
 * it.
 *
 * Ctrl-C stops an answer that is being written, and ends the chat when none is.
 * @module
 */
import type { IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { KwyreError } from '../base/errors.ts';
import type { Server } from './client.ts';
import { findServer, readJson, send, serverDirectory } from './client.ts';
import { describeSeconds, lastContinued } from './sessions.ts';
import type { StatusAnswer } from './status.ts';
import { oneLine } from './status.ts';
import { plainText, PlainTextStream } from './terminal.ts';

type Turn = { readonly role: 'user' | 'assistant'; readonly content: string };

export async function chat(args: readonly string[]): Promise<number> {
  const { values } = parseFlags(args);
  const server = findServer(serverDirectory(values.state));
  const answer = (await readJson(await send(server, 'GET', '/kwyre/status'))) as StatusAnswer;
  console.log(`Kwyre ${answer.version}, model ${plainText(answer.model.name)}. ${oneLine(answer.layers)}`);
  if (answer.model.name === 'guide')
    console.log(
      'The guide is a small demonstration model: it knows Kwyre only, and where it is wrong it is fluently wrong.',
    );
  console.log('Ctrl-C stops an answer, and then the chat. Nothing is written anywhere.\n');

  const turns: Turn[] = [];
  let generation: AbortController | undefined;
  const terminal = createInterface({
    input: process.stdin,
    output: process.stdout,
    prompt: 'you> ',
    historySize: 0,
    terminal: process.stdin.isTTY,
  });
  const input = { over: false };
  terminal.once('close', () => {
    input.over = true;
  });
  terminal.on('SIGINT', () => {
    if (generation === undefined) terminal.close();
    else generation.abort();
  });
  terminal.prompt();
  for await (const line of terminal) {
    if (line.trim() !== '') {
      turns.push({ role: 'user', content: line });
      generation = new AbortController();
      const text = await speak(server, turns, generation.signal);
      generation = undefined;
      // A turn that failed is taken back, so that the next one starts from what was really said.
      if (text === undefined) turns.pop();
      else turns.push({ role: 'assistant', content: text });
    }
    if (!input.over) terminal.prompt(); // its input may have ended during the answer
  }
  console.log();
  return 0;
}

/** One answer on the terminal; what was said of it, or `undefined` when the server refused. */
async function speak(server: Server, turns: readonly Turn[], signal: AbortSignal): Promise<string | undefined> {
  let said = '';
  const plain = new PlainTextStream();
  try {
    const body = Buffer.from(
      JSON.stringify({ model: 'default', stream: true, stream_options: { include_usage: true }, messages: turns }),
    );
    const response = await send(server, 'POST', '/v1/chat/completions', body, signal);
    if (response.statusCode !== 200) await readJson(response);
    let reused = 0;
    for await (const { text, cached } of deltas(response)) {
      said += text;
      reused += cached;
      process.stdout.write(plain.push(text));
    }
    const left = reused > 0 ? await lastContinued(server) : undefined;
    process.stdout.write(
      left === undefined
        ? '\n\n'
        : `\n[went on from the sealed state, ${reused} tokens; it is wiped in ${describeSeconds(left)} without another turn]\n\n`,
    );
    return said;
  } catch (error) {
    if (signal.aborted) {
      process.stdout.write(' [stopped]\n\n');
      return said;
    }
    const reason =
      error instanceof KwyreError
        ? `${error.message}${error.remedy === '' ? '' : `; ${error.remedy}`}`
        : 'the server went away; see ./kwyre status';
    console.log(`\n[${plainText(reason)}]\n`);
    return undefined;
  }
}

/**
 * The text pieces of a streamed answer, and how many tokens need not be computed. @throws what the server reported in
 * the stream
 */
async function* deltas(response: IncomingMessage): AsyncGenerator<{ readonly text: string; readonly cached: number }> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const chunk of response) {
    const lines = (rest + decoder.decode(chunk as Buffer, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (!line.startsWith('data: ') || line === 'data: [DONE]') continue;
      const event = JSON.parse(line.slice(6)) as {
        error?: { message?: string };
        choices?: { delta?: { content?: string | null } }[];
        usage?: { prompt_tokens_details?: { cached_tokens?: number } } | null;
      };
      if (event.error !== undefined)
        throw new KwyreError('SERVER_REFUSED', event.error.message ?? 'the answer broke off', '');
      yield {
        text: event.choices?.[0]?.delta?.content ?? '',
        cached: event.usage?.prompt_tokens_details?.cached_tokens ?? 0,
      };
    }
  }
}

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], strict: true, options: { state: { type: 'string' } } });
  } catch {
    throw new KwyreError('USAGE_FLAG_UNKNOWN', 'chat does not know one of these flags', './kwyre chat --help');
  }
}
