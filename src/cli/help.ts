/**
 * The long help for commands with several actions: `./kwyre help model` and `./kwyre help deps`.
 *
 * Proof: test/unit/cli/help.test.ts
 * @module
 */

export const modelUsage = `
  add PATH             inspects a GGUF file, or a folder that contains one, asks, and approves it by signing
    --name NAME          its name here (default: the name of the file or folder)
    --weights FILE       the GGUF file to serve, if the folder contains several
    --method files|shards
                         one digest per file, or one per GiB (default: shards above 4 GiB)
    --upstream-key PEM, --upstream-root PEM
                         the maker's key or root certificate, to verify the model's signature
    --upstream-identity WHO, --upstream-issuer URL
                         who must have made the model's keyless signature, and their identity provider
  list                 lists the approved models
  verify [NAME]        hashes every file again; exit code 14 if one differs
  sign PATH            writes model.sig, for any OpenSSF Model Signing verifier
    --out FILE           where to write it (default: in the folder, or next to the file)
    --method files|shards
  trust KEY.pem        lets a key approve any model
    --label TEXT         a name for the key
  remove NAME          withdraws the approval; the files are not deleted

  for add and sign:
    --key FILE           a P-256 private key (PEM); default: the operator key of ./kwyre deps seal;
                         without either, add uses a new key for this one approval
    --passphrase-file FILE
                         reads the passphrase of the key from FILE
  for all: --yes does not ask, --json prints JSON, --state DIR sets the state folder`;

export const depsUsage = `
  plan                 lists every package, its machine code, and differences from the published one
                       (exit code 13 if there are any)
    --format sha256sum   every file with its digest, for: ./kwyre deps plan --format sha256sum | sha256sum --check
    --format cyclonedx   the packages as a CycloneDX bill of materials
  seal --reason TEXT   signs every file that runs, including Kwyre's own; a start without this signature is then
                       refused
    --key FILE           a P-256 private key (PEM); default: the operator key, created on first use and encrypted
                         with a passphrase
    --passphrase-file FILE
                         reads the passphrase from FILE
    --system             stores the trust file in /etc/kwyre, where only root can change it (needs root)
  verify               compares every file with the signature, or else with the published packages; exit code 13
                       if one differs

  for all: --yes does not ask, --json prints JSON, --state DIR sets the state folder`;
