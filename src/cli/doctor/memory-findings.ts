/**
 * `kwyre doctor`, layer 5: secret memory, swap, freed memory and core dumps. Pure.
 *
 * Proof: test/unit/cli/checks.test.ts
 * @module
 */
import type { Finding, HostFacts } from './types.ts';

function secretMemory({ secretMemoryFault: fault }: HostFacts): Finding {
  return {
    id: 'secret-memory',
    layer: 5,
    title: 'memory for keys that no other process can read (memfd_secret)',
    status: fault === undefined ? 'full' : 'less',
    reason: fault ?? 'available',
    remedy:
      fault === undefined ? '' : 'use Linux 5.14 or later; before 6.5, also set the kernel option secretmem.enable=1',
  };
}

function swap({ swaps }: HostFacts): Finding {
  const common = { id: 'swap', layer: 5, title: 'memory is not swapped to disk' } as const;
  if (swaps === undefined)
    return {
      ...common,
      status: 'less',
      reason: '/proc/swaps cannot be read',
      remedy: 'make /proc/swaps readable, or check with swapon --show',
    };
  const areas = swaps.trim().split('\n').slice(1);
  const onDisk = areas.filter((line) => !line.startsWith('/dev/zram'));
  if (onDisk.length > 0)
    return {
      ...common,
      status: 'less',
      reason: `swap areas on a disk: ${onDisk.length}; memory that cannot be locked may be written there`,
      remedy: 'sudo swapoff -a, or encrypt swap with a new key at each boot',
    };
  return {
    ...common,
    status: 'full',
    reason: areas.length > 0 ? 'swap is compressed memory only (zram)' : 'there is no swap',
    remedy: '',
  };
}

function freedMemory({ clearsFreedMemory: clears }: HostFacts): Finding {
  const common = { id: 'freed-memory', layer: 5, title: 'the kernel clears freed memory at once' } as const;
  if (clears === true) return { ...common, status: 'full', reason: 'init_on_free is on', remedy: '' };
  return {
    ...common,
    status: 'less',
    reason: `${
      clears === undefined
        ? 'the kernel does not report whether init_on_free is on'
        : 'init_on_free is off: the kernel clears a page only before it is used again'
    }; Kwyre overwrites the text of running turns itself, but not the KV cache`,
    remedy: 'set the kernel option init_on_free=1, which reduces speed by a few per cent',
  };
}

/**
 * A core limit of 0 prevents dumps to files. If the kernel pipes dumps to a program, that program gets them despite the
 * limit, unless the process is not dumpable.
 */
function coreDumps({ corePattern: pattern }: HostFacts): Finding {
  const common = { id: 'core-pattern', layer: 5, title: 'a crash writes no core dump' } as const;
  if (pattern === undefined)
    return {
      ...common,
      status: 'less',
      reason: 'the kernel does not report where core dumps go; jailed roles make none',
      remedy: 'make /proc/sys/kernel/core_pattern readable',
    };
  const program = /^\|(\S+)/.exec(pattern)?.[1];
  if (program === undefined)
    return {
      ...common,
      status: 'full',
      reason: 'core dumps go to files, and every role has a limit of 0 bytes',
      remedy: '',
    };
  return {
    ...common,
    status: 'less',
    reason:
      `core dumps are piped to ${program} regardless of the limit; jailed roles make none, but one that ` +
      'crashes while it starts would',
    remedy: 'sudo sysctl kernel.core_pattern=core',
  };
}

/** Returns the findings about where text in memory could be read, or written to disk. */
export function memoryFindings(facts: HostFacts): Finding[] {
  return [secretMemory(facts), swap(facts), freedMemory(facts), coreDumps(facts)];
}
