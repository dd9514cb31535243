/**
 * `kwyre chat`: a conversation in the terminal. It is kept only in the memory of this process, and there is no history
 * file. The server keeps the conversation's encrypted state for a while (`--continue`). When a turn reuses that state,
 * the chat prints when it will be wiped.
 *
 * Ctrl-C stops the current answer. If there is none, it ends the chat.
 * @module
 */
import type { IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { KwyreError } from '../base/errors.ts';
import type { Server } from './client.ts';
import { findServer, readJson, send, serverDirectory } from './client.ts';
import { describeSeconds, secondsLeft } from './sessions.ts';
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
      'The guide is a small demonstration model that knows only Kwyre; its mistakes sound as fluent as the rest.',
    );
  console.log('Ctrl-C stops an answer; Ctrl-C again ends the chat. Nothing is written to disk.\n');

  const turns: Turn[] = [];
  let generation: AbortController | undefined;
  const terminal = createInterface({
    input: process.stdin,
    output: process.stdout,
    prompt: 'you> ',
    historySize: 0,
    terminal: process.stdin.isTTY,
  });
  const input = { closed: false };
  terminal.once('close', () => {
    input.closed = true;
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
      const text = await requestAnswer(server, turns, generation.signal);
      generation = undefined;
      // A failed turn is removed, so that the history contains only completed ones.
      if (text === undefined) turns.pop();
      else turns.push({ role: 'assistant', content: text });
    }
    if (!input.closed) terminal.prompt(); // it may have closed during the answer
  }
  console.log();
  return 0;
}

/** Prints one answer. @returns its text, even if it was stopped; `undefined` if the request failed */
async function requestAnswer(server: Server, turns: readonly Turn[], signal: AbortSignal): Promise<string | undefined> {
  let answer = '';
  const plain = new PlainTextStream();
  try {
    const body = Buffer.from(
      JSON.stringify({ model: 'default', stream: true, stream_options: { include_usage: true }, messages: turns }),
    );
    const response = await send(server, 'POST', '/v1/chat/completions', body, signal);
    if (response.statusCode !== 200) await readJson(response);
    let reused = 0;
    for await (const { text, cached } of deltas(response)) {
      answer += text;
      reused += cached;
      process.stdout.write(plain.push(text));
    }
    const left = reused > 0 ? await secondsLeft(server) : undefined;
    process.stdout.write(
      left === undefined
        ? '\n\n'
        : `\n[reused the encrypted state of the conversation, ${reused} tokens; it is wiped after ` +
            `${describeSeconds(left)} without another turn]\n\n`,
    );
    return answer;
  } catch (error) {
    if (signal.aborted) {
      process.stdout.write(' [stopped]\n\n');
      return answer;
    }
    const reason =
      error instanceof KwyreError
        ? `${error.message}${error.remedy === '' ? '' : `; ${error.remedy}`}`
        : 'the connection to the server was lost; check ./kwyre status';
    console.log(`\n[${plainText(reason)}]\n`);
    return undefined;
  }
}

/**
 * Yields the pieces of text of a streamed answer and the number of prompt tokens that were reused. @throws an error
 * that the server sends in the stream
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
        throw new KwyreError('SERVER_REFUSED', event.error.message ?? 'the answer ended early', '');
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
    throw new KwyreError('USAGE_FLAG_UNKNOWN', 'chat takes only --state DIR', './kwyre chat --help');
  }
}
