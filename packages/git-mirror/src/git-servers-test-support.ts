export { type Fault, type GitHttpRequest, GitHttpServer, serveHttp } from './git-http-test-support.ts'
export {
  type Change,
  type Files,
  makeRepository,
  type TestRepository,
} from './git-repository-test-support.ts'
export { type GitSshServer, serveSsh } from './git-ssh-test-support.ts'
export { BARE_ENVIRONMENT, gitSettings, run, runGit } from './run-git-test-support.ts'
export { makeGpgSigner, makeSshKey, makeSshSigner, type Signer } from './signers-test-support.ts'
