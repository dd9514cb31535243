/**
 * The longer help of commands that have actions of their own: `./kwyre help model`, `./kwyre help deps`.
 *
 * Proof: test/unit/cli/help.test.ts
 * @module
 */

export const modelUsage = `
  add PATH             looks at a GGUF file or a folder that holds one, shows it, asks, and approves it by signing
    --name NAME          what to call it (default: the name of the file or folder)
    --weights FILE       which GGUF file to serve, where a folder holds several
    --method files|shards  one digest a file, or one for each gigabyte (default: shards above 4 GiB)
    --upstream-key PEM, --upstream-root PEM   the key or root certificate of its maker, to verify a signature beside it
    --upstream-identity WHO, --upstream-issuer URL   who must have made a keyless signature beside it, and who vouches for them
  list                 what is approved here
  verify [NAME]        reads every byte again; exit code 14 when one differs
  sign PATH            writes model.sig, which every OpenSSF verifier reads
    --out FILE           where to write it (default: in the folder, or beside the file)
    --method files|shards
  trust KEY.pem        lets a key approve any model here
    --label TEXT         what to call the key
  remove NAME          takes the approval back; the files stay

  for add and sign:
    --key FILE           a P-256 key of yours (PEM); otherwise the operator key of ./kwyre deps seal; add without either makes a key for this one approval
    --passphrase-file FILE   reads the passphrase of the key from FILE
  for all: --yes asks nothing, --json prints for programs, --state DIR is the state folder`;

export const depsUsage = `
  plan                 shows every package, what in it is machine code, and what is unlike the published one (then exit code 13)
    --format sha256sum   every file with its digest, for: ./kwyre deps plan --format sha256sum | sha256sum --check
    --format cyclonedx   the packages as a CycloneDX bill of materials
  seal --reason TEXT   signs everything that runs, Kwyre's own files too; from then on a start without that seal is refused
    --key FILE           a P-256 key of yours (PEM); otherwise the operator key, made the first time and kept under a passphrase
    --passphrase-file FILE   reads the passphrase from FILE
    --system             keeps the trust file in /etc/kwyre, where only root can change it (needs root)
  verify               compares everything with the seal, or without one with what was published; exit code 13 when it differs

  for all: --yes asks nothing, --json prints for programs, --state DIR is the state folder`;
