/**
 * The text printed when the server is ready: the layers, the link, a curl command and the two lines that clients need.
 *
 * Promise: the token is printed only to a terminal, never to a file or a journal. The curl command reads it from a
 *          file, so that it does not appear in the process list either.
 * @module
 */
import type { LayerReport } from '../../base/verdict.ts';

type StartFacts = {
  readonly version: string;
  readonly model: string;
  readonly port: number;
  readonly seconds: number;
  readonly layers: readonly LayerReport[];
  readonly headerPath: string;
  readonly tokenPath: string;
  readonly socketPath: string | undefined;
  /** The state folder if it is not the default one, and otherwise `undefined`. */
  readonly state: string | undefined;
  /** The token if the output is a terminal, and otherwise `undefined`. */
  readonly token: string | undefined;
};

const marks = { enforced: '[ok]', degraded: '[--]', off: '[  ]' } as const;

/** Quotes a word for a POSIX shell, if necessary. */
function quote(text: string): string {
  return /^[A-Za-z0-9_./@:+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

export function startText(facts: StartFacts): string {
  const state = facts.state === undefined ? '' : ` --state ${quote(facts.state)}`;
  const base = `http://127.0.0.1:${facts.port}`;
  const body = JSON.stringify({
    model: facts.model,
    stream: true,
    messages: [{ role: 'user', content: 'What does layer 5 do?' }],
  });
  return [
    `Kwyre ${facts.version} serves ${facts.model} on ${base} (ready in ${facts.seconds.toFixed(2)} s)`,
    '',
    ...facts.layers.map(
      (layer) => `  ${marks[layer.status]} layer ${layer.layer}  ${layer.name.padEnd(27)} ${layer.status}`,
    ),
    '',
    facts.token === undefined
      ? `open    ./kwyre token link${state}   (prints the link for the browser)`
      : `open    ${base}/#${facts.token}`,
    `try     curl -N -H @${quote(facts.headerPath)} -H 'Content-Type: application/json' ` +
      `${base}/v1/chat/completions -d '${body}'`,
    `use     export OPENAI_BASE_URL=${base}/v1`,
    `        export OPENAI_API_KEY=$(cat ${quote(facts.tokenPath)})`,
    ...(facts.socketPath === undefined ? [] : [`socket  ${facts.socketPath}`]),
    `chat    ./kwyre chat${state}`,
    `status  ./kwyre status${state}`,
    `stop    Ctrl-C (every conversation ends with it)`,
  ].join('\n');
}
