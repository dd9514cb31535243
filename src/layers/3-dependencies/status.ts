/**
 * The report on layer 3: the verification of the installed tree, and whether the program runs from memory.
 *
 * Proof: test/attacks/3-tree.test.ts, test/attacks/6-window.test.ts
 * @module
 */
import type { Check, LayerReport } from '../../base/verdict.ts';
import { layerReport } from '../../base/verdict.ts';

/** The supervisor's observations in this run. */
type DependencyFacts = {
  /** Checks of the verified tree. */
  readonly tree: readonly Check[];
  /** Whether Node runs from its file because this kernel refuses to run programs from memory. */
  readonly visible: boolean;
  /** Whether the supervisor runs as root. */
  readonly asRoot: boolean;
};

function programMemoryCheck({ visible, asRoot }: DependencyFacts): Check {
  const id = 'sealed-program';
  const at = Date.now();
  if (visible)
    return {
      id,
      status: 'degraded',
      evidence:
        'Node runs from its file, because this kernel runs no program from memory (vm.memfd_noexec=2): ' +
        'until a process has hidden itself, other programs of its user can read its memory',
      at,
    };
  return {
    id,
    status: 'enforced',
    evidence:
      'Node and its native libraries run from immutable memory that holds the verified bytes; this program file ' +
      "cannot be read, so from a role's first instruction on, other programs of its user cannot read its memory" +
      (asRoot
        ? '; this supervisor runs as root and hid itself in its first line; before that, only root could read it'
        : ''),
    at,
  };
}

/** Returns the report on layer 3. */
export function dependencyReport(facts: DependencyFacts): LayerReport {
  return layerReport(3, [...facts.tree, programMemoryCheck(facts)]);
}
