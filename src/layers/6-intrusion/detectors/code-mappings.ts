/**
 * Detects code in the server's processes that was not mapped from a declared file.
 *
 * A file is identified by what is mapped, not by what is at its path now. If a file was replaced on the disk (by an
 * upgrade, or because the same packages were installed again), the mapped code is still the same as before, and is
 * distinguished from code that was never declared.
 *
 * Limits:  code that V8 generates has no file and is not examined here. An ordinary user cannot read the maps of these
 *          non-dumpable processes; this detector then reports that it cannot read them. Layer 3 decides which files are
 *          right.
 * Source:  proc_pid_maps(5)
 * Proof:   test/unit/layers/6-all-detectors.test.ts
 * @module
 */
import type { Detection, Finding } from '../finding.ts';
import { fullVisibility, aboutTarget, worseVisibility } from '../finding.ts';
import type { Mapping } from '../../../linux/procfs/maps.ts';
import type { Snapshot, Watched } from '../scan-result.ts';

/**
 * Returns whether a mapped file is declared. Immutable memory is compared by device and inode, a file by its path; a
 * deleted file has no path.
 */
export function isDeclaredCode(
  { path, device, inode }: Mapping,
  { code, memory }: Pick<Watched, 'code' | 'memory'>,
): boolean {
  if (memory.includes(`${device}:${inode}`)) return true;
  return (
    !path.endsWith(' (deleted)') &&
    code.some((root) => path === root || path.startsWith(root.endsWith('/') ? root : `${root}/`))
  );
}

/** Returns a key that identifies a mapped file, whatever happens to its path. */
export function mappingKey(mapping: Mapping): string {
  return `${mapping.device} ${mapping.inode}`;
}

/** Finds executable mappings of undeclared files. */
export function detectMappings(snapshot: Snapshot): Detection {
  const { code } = snapshot.watched;
  if (code.length === 0)
    return { detector: 'mappings', seen: 'not-available', reason: 'no files were declared as code', findings: [] };
  const findings: Finding[] = [];
  let sight = fullVisibility;
  for (const state of snapshot.targets) {
    const { role } = state.target;
    if ('value' in state.mappings) {
      const elsewhere = state.mappings.value.filter((mapping) => !isDeclaredCode(mapping, snapshot.watched));
      const foreign = elsewhere.filter((mapping) => !snapshot.knownCode.has(mappingKey(mapping))).length;
      const replaced = elsewhere.length - foreign;
      if (replaced > 0)
        findings.push({
          ...aboutTarget(
            'mappings',
            state,
            `${replaced} files that the ${role} runs were replaced on the disk; it still runs the old ones`,
          ),
          relation: 'stranger',
        });
      if (foreign > 0)
        findings.push(aboutTarget('mappings', state, `${foreign} undeclared files are mapped as code in the ${role}`));
    } else if (state.mappings.missing === 'denied') {
      sight = worseVisibility(sight, { seen: 'not-available', reason: "the server's maps are hidden from this user" });
    } else if (state.mappings.missing === 'failed') {
      sight = worseVisibility(sight, { seen: 'unreadable', reason: `the maps of the ${role} cannot be read` });
    }
  }
  return { detector: 'mappings', ...sight, findings };
}
