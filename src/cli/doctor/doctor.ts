/**
 * `kwyre doctor`: reports what this machine can enforce, why, and how to improve it. Needs no server, changes nothing.
 *
 * Proof: test/unit/cli/checks.test.ts, test/e2e/doctor.test.ts
 * @module
 */
import { parseArgs } from 'node:util';
import { root } from '../../installation/paths.ts';
import { KwyreError } from '../../base/errors.ts';
import { layerNames } from '../../base/verdict.ts';
import { version } from '../../base/version.ts';
import { loadOnly, verifyOwnTree } from '../../installation/own-tree.ts';
import { DifferenceError } from '../../oms/verification-error.ts';
import { defaultStateDirectory } from '../../state/state-directory.ts';
import { examine, exitCodeOf } from './checks.ts';
import { readHost } from './host-facts.ts';
import type { Finding } from './types.ts';
import { plainText } from '../terminal.ts';

const marks = { full: '[ok]', less: '[--]', none: '[  ]' } as const;

/** Formats the findings as text, by layer. @internal */
export function renderFindings(findings: readonly Finding[]): string {
  const layers = [...new Set(findings.map((finding) => finding.layer))].sort((a, b) => a - b);
  const blocks = layers.map((layer) => {
    const lines = findings
      .filter((finding) => finding.layer === layer)
      .flatMap(({ status, title, reason, remedy }) => [
        `  ${marks[status]} ${title}`,
        `       ${reason}`,
        ...(remedy === '' ? [] : [`       next: ${remedy}`]),
      ]);
    return [layer === 0 ? 'the machine' : `layer ${layer}  ${layerNames[layer]}`, ...lines].join('\n');
  });
  const missing = findings.filter((finding) => finding.status === 'none').length;
  const less = findings.filter((finding) => finding.status === 'less').length;
  const verdict =
    missing > 0
      ? `a server cannot start here yet: ${missing} required ${missing === 1 ? 'feature is' : 'features are'} ` +
        'missing; each next step is above'
      : less > 0
        ? `a server can start here; ${less} ${less === 1 ? 'protection' : 'protections'} could be stronger`
        : 'a server can start here, with every protection at full strength';
  return plainText([...blocks, verdict].join('\n\n'));
}

/**
 * Returns how the installed packages differ from the published ones. If they do not differ, returns `undefined`, and
 * this process loads only verified bytes from then on.
 */
async function treeFault(): Promise<string | undefined> {
  try {
    await loadOnly(verifyOwnTree(root, defaultStateDirectory(process.env)));
    return undefined;
  } catch (error) {
    if (error instanceof DifferenceError) return `${error.differences.length} files differ`;
    if (error instanceof KwyreError) return error.message;
    throw error;
  }
}

/** Runs `kwyre doctor`. */
export async function doctor(args: readonly string[]): Promise<number> {
  let json: boolean;
  try {
    json = parseArgs({ args: [...args], strict: true, options: { json: { type: 'boolean' } } }).values.json ?? false;
  } catch {
    throw new KwyreError('USAGE_FLAG_UNKNOWN', 'doctor takes only --json', './kwyre doctor');
  }
  // Native code that differs from the published packages is never loaded.
  const fault = await treeFault();
  const kernel = fault === undefined ? await (await import('./kernel-facts.ts')).askKernel(root) : undefined;
  const findings = examine(readHost(root, fault, kernel));
  const exitCode = exitCodeOf(findings);
  console.log(json ? JSON.stringify({ version, exitCode, findings }, undefined, 2) : renderFindings(findings));
  return exitCode;
}
