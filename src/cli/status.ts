/**
 * `kwyre status`: shows the six layers as the running server reports them, and how many conversations it keeps.
 * @module
 */
import { parseArgs } from 'node:util';
import { KwyreError } from '../base/errors.ts';
import type { LayerReport } from '../base/verdict.ts';
import { findServer, readJson, send, serverDirectory } from './client.ts';
import type { Conversations } from './sessions.ts';
import { countEntries, describeConversations, listEntries } from './sessions.ts';
import { plainText } from './terminal.ts';

export type StatusAnswer = {
  readonly version: string;
  readonly pid: number;
  readonly uptime_s: number;
  readonly model: { readonly name: string };
  readonly layers: readonly LayerReport[];
  readonly events?: { readonly lost: number; readonly reason: string };
  readonly conversations?: Conversations;
};

/** The mark of each status, readable without colour. */
export const marks: Readonly<Record<LayerReport['status'], string>> = {
  enforced: '[ok]',
  degraded: '[--]',
  off: '[  ]',
};

/** Formats all six layers in one line. */
export function oneLine(layers: readonly LayerReport[]): string {
  return layers.map((layer) => `${layer.layer} ${layer.name.split(' ').at(-1) ?? ''} ${layer.status}`).join(' | ');
}

/**
 * Formats the layers as text: one line for each, followed by its checks.
 * @param all - whether to list enforced checks too
 */
function render(answer: StatusAnswer, all: boolean): string {
  const lines: string[] = [];
  for (const layer of answer.layers) {
    lines.push(`${marks[layer.status]} layer ${layer.layer}  ${layer.name.padEnd(27)} ${layer.status}`);
    for (const check of layer.checks) {
      if (all || check.status !== 'enforced')
        lines.push(`       ${check.id}: ${check.evidence}${check.status === layer.status ? '' : ` (${check.status})`}`);
    }
  }
  return plainText(lines.join('\n'));
}

/** Checks that a response is a status. @throws `SERVER_ANSWER` @internal */
export function parseStatusAnswer(value: unknown): StatusAnswer {
  const answer = value as { layers?: unknown; model?: { name?: unknown } } | null;
  const isLayer = (layer: unknown): boolean =>
    typeof layer === 'object' &&
    layer !== null &&
    'name' in layer &&
    typeof layer.name === 'string' &&
    'checks' in layer &&
    Array.isArray(layer.checks);
  if (!Array.isArray(answer?.layers) || typeof answer.model?.name !== 'string' || !answer.layers.every(isLayer)) {
    throw new KwyreError(
      'SERVER_ANSWER',
      'the response of the server is not a status',
      'compare the version of the server with ./kwyre --version',
    );
  }
  return value as StatusAnswer;
}

/** Returns a line about events that could not be written; empty if there are none. */
function describeLosses(events: StatusAnswer['events']): string {
  return events === undefined || events.lost === 0
    ? ''
    : `\nevents: ${events.lost} could not be written (${plainText(events.reason)}); the server is not affected`;
}

export async function status(args: readonly string[]): Promise<number> {
  const { values } = parseFlags(args);
  const server = findServer(serverDirectory(values.state));
  const answer = parseStatusAnswer(await readJson(await send(server, 'GET', '/kwyre/status')));
  const entries = await listEntries(server);
  const conversations = entries === undefined ? undefined : countEntries(entries);
  if (values.json === true) {
    console.log(JSON.stringify({ ...answer, ...(conversations === undefined ? {} : { conversations }) }, undefined, 2));
    return 0;
  }
  const { version, pid, uptime_s: uptime, model, events } = answer;
  const address = `127.0.0.1:${server.presence.port}`;
  const kept = conversations === undefined ? '' : `\n${describeConversations(conversations)}`;
  console.log(
    `Kwyre ${version}, pid ${pid}, up ${uptime} s, ${address}, model ${plainText(model.name)}\n` +
      `${render(answer, true)}${kept}${describeLosses(events)}`,
  );
  return 0;
}

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      options: { json: { type: 'boolean' }, state: { type: 'string' } },
    });
  } catch {
    throw new KwyreError('USAGE_FLAG_UNKNOWN', 'status takes only --json and --state DIR', './kwyre status --help');
  }
}
