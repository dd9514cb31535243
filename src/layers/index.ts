/**
 * The six layers and what they promise, as data. `./test/run threat-model` writes the tables of `docs/THREAT-MODEL.md`
 * from this list, from `test/threat-model/attack-table.ts` and from the ids in the titles of the tests.
 * Proof:   test/unit/layers/threat-model.test.ts
 * @module
 */
import type { Layer } from '../base/errors.ts';
import { layerNames } from '../base/verdict.ts';

/**
 * One numbered promise. The numbers never change and are never reused.
 * @internal
 */
export type Claim = {
  /** `C1` to `C26`. */
  readonly id: string;
  readonly promise: string;
  /** The file to read first, below `src/`. */
  readonly keptIn: string;
  /** The most important limit; the others are listed by layer in `docs/THREAT-MODEL.md`. */
  readonly limit: string;
};

/** One layer, its promise and the claims that it keeps. */
type LayerEntry = {
  readonly number: Layer;
  readonly name: string;
  /** The whole layer in one sentence. */
  readonly promise: string;
  /** The file below `src/` that computes the layer's status. */
  readonly status: string;
  readonly claims: readonly Claim[];
};

function claim(id: string, keptIn: string, promise: string, limit: string): Claim {
  return { id, keptIn, promise, limit };
}

/**
 * Claims that no single layer keeps.
 * @internal
 */
export const sharedClaims: readonly Claim[] = [
  claim(
    'C1',
    'policy/role-policy.ts',
    'Each layer stands alone: with any one of them removed, the attacks on the other five still fail.',
    'All six trust the same kernel, and one supervisor starts them.',
  ),
  claim(
    'C2',
    'policy/roles.ts',
    'No hostile request and no compromised process can send data away, change weights or leave a conversation.',
    'Until it is killed, a compromised process can lie in its answers and mix up the conversations it holds.',
  ),
];

/**
 * The six layers, by number.
 * @internal
 */
export const layers: readonly LayerEntry[] = [
  {
    number: 1,
    name: layerNames[1],
    promise: 'The server answers on 127.0.0.1 only, and only to programs that hold a token.',
    status: 'layers/1-loopback/status.ts',
    claims: [
      claim(
        'C3',
        'layers/1-loopback/listener.ts',
        'The server listens on 127.0.0.1 only. No flag, variable or inherited socket changes that.',
        '`[::1]` on the port is reserved without listening; for an installed server a firewall rule refuses it.',
      ),
      claim(
        'C4',
        'layers/1-loopback/request-guard.ts',
        'No other machine, web page or program without a token is answered, whatever the headers say.',
        'If root forges 127.0.0.1 as source (SNAT), a packet looks local; the guard and the token still apply.',
      ),
      claim(
        'C5',
        'layers/1-loopback/status.ts',
        'Anyone can check it: `ss -ltn` and `./kwyre status` show one listener on 127.0.0.1.',
        'A local program that holds a token can pass answers on.',
      ),
    ],
  },
  {
    number: 2,
    name: layerNames[2],
    promise: 'The kernel keeps every serving process from the network, other processes and files it does not need.',
    status: 'layers/2-isolation/status.ts',
    claims: [
      claim(
        'C6',
        'layers/2-isolation/jail/seccomp-filters.ts',
        'The kernel blocks outbound traffic of every serving process, whichever code runs in it.',
        'For an ordinary user there is no network namespace; seccomp and Landlock are the wall.',
      ),
      claim(
        'C7',
        'layers/2-isolation/install/firewall.ts',
        'Firewall rules (nftables or iptables) block all outbound traffic of the installed server, by user.',
        '`nft flush ruleset` by root removes the rules until the server starts again.',
      ),
      claim(
        'C8',
        'layers/2-isolation/install/other-platforms.ts',
        "On Windows a firewall rule blocks outbound traffic of the server's executable.",
        'The command is generated and tested as text; we have never run it.',
      ),
      claim(
        'C9',
        'layers/2-isolation/install/system-user.ts',
        'The installed server runs as a user without shell, home folder or outbound network.',
        'A server that runs from a checkout has no user of its own.',
      ),
    ],
  },
  {
    number: 3,
    name: layerNames[3],
    promise: 'Only code that matches the published or signed digests runs.',
    status: 'layers/3-dependencies/status.ts',
    claims: [
      claim(
        'C10',
        'layers/3-dependencies/tree-verifier.ts',
        'Every start hashes every installed file and compares it with the published or signed list.',
        'The launcher, the shell and the tools it calls run before anything is verified.',
      ),
      claim(
        'C11',
        'layers/3-dependencies/published-digests.ts',
        'A package of another version is refused, newer or older.',
        "Kwyre's own files have no published digests; they are covered once they are signed (`deps seal`).",
      ),
      claim(
        'C12',
        'layers/3-dependencies/load-hook.ts',
        'A changed file is refused. What runs are the bytes that were hashed, even if the file changes later.',
        'WebAssembly and injected machine code are not stopped by this layer; the jail confines them.',
      ),
      claim(
        'C13',
        'layers/3-dependencies/signature/signed-tree.ts',
        'An unexpected file or package is refused, and so is a missing, replaced or older manifest.',
        'A state folder that never saw a signature accepts the first one.',
      ),
    ],
  },
  {
    number: 4,
    name: layerNames[4],
    promise: 'Only the approved model runs.',
    status: 'layers/4-model/status.ts',
    claims: [
      claim(
        'C14',
        'layers/4-model/model-verifier.ts',
        'Every start hashes every byte of every model file and compares it with the approval.',
        'The comparison is worth no more than the program that makes it (check `program`).',
      ),
      claim(
        'C15',
        'layers/4-model/immutable-weights.ts',
        'Substitution, tampering and silent corruption are refused; loaded weights cannot change.',
        "With `--weights file` and another user's file, a change is detected, not prevented.",
      ),
    ],
  },
  {
    number: 5,
    name: layerNames[5],
    promise: 'Conversations exist in memory only, are encrypted between turns and are overwritten when they end.',
    status: 'layers/5-memory/status.ts',
    claims: [
      claim(
        'C16',
        'layers/2-isolation/jail/confine.ts',
        'No conversation reaches a file: no serving process can grow one.',
        'A hibernation image or VM snapshot taken during a turn holds what memory held.',
      ),
      claim(
        'C17',
        'layers/5-memory/key-arena.ts',
        'Each conversation is encrypted under a random 256-bit key of its own, in memory that root cannot read.',
        'During a turn its text, tokens and KV cache are in plain memory, and root can read them.',
      ),
      claim(
        'C18',
        'layers/5-memory/vault.ts',
        'An idle conversation is wiped after one hour, or sooner (`--idle`, memory pressure).',
        'A turn is not idle, however long it takes.',
      ),
      claim(
        'C19',
        'layers/5-memory/sealed-buffer.ts',
        'A wipe overwrites the key, then the content, before the memory is freed.',
        'Kernel socket buffers, GPU memory, the client and its terminal are outside this layer.',
      ),
      claim(
        'C20',
        'layers/5-memory/memory-scrub.ts',
        'Conversations are wiped when they are closed, and all of them before the server exits.',
        'If the supervisor itself is killed, the kernel takes the memory back and nothing overwrites it first.',
      ),
    ],
  },
  {
    number: 6,
    name: layerNames[6],
    promise: 'A debugger, memory reader or packet capture is detected, and the server wipes everything and ends.',
    status: 'layers/6-intrusion/status.ts',
    claims: [
      claim(
        'C21',
        'layers/6-intrusion/confirmation-counter.ts',
        'The watchdog scans every 5 s or faster. Two detections in a row confirm a violation, so does a recurring one.',
        'What begins and ends between two scans is prevented by other means or not seen.',
      ),
      claim(
        'C22',
        'layers/6-intrusion/detectors/undeclared-sockets.ts',
        'A socket that a serving process should not have is detected.',
        'A TCP socket of the gateway that is in no kernel table counts as a dead connection.',
      ),
      claim(
        'C23',
        'layers/6-intrusion/known-tools.ts',
        'Debuggers, memory readers and captures are detected by effect, known tools by their executable.',
        'eBPF, perf events and other pid namespaces are not seen.',
      ),
      claim(
        'C24',
        'supervisor/intrusion/alarm.ts',
        'A confirmed violation wipes all conversations at once.',
        'An engine that does not end is killed after 150 ms; then the kernel clears what llama.cpp allocated.',
      ),
      claim(
        'C25',
        'state/event-log.ts',
        'The violation is logged as metadata only.',
        'A compromised process can choose at most 964 bits an hour of what is written (see below).',
      ),
      claim(
        'C26',
        'state/violation-marker.ts',
        'The server ends with exit code 16 and refuses to start in this boot until you acknowledge it.',
        'If no folder accepts the marker, only the exit code and the message report it.',
      ),
    ],
  },
];
