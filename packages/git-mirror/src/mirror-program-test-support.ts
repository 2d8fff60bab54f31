import { createGit } from './git.ts'
import { openMirror } from './mirror.ts'

/** A program that syncs without a pause, to be killed: `<repository> <root> <link> <link|copy>`. */
const [repo = '', directory = '', link = '', publish = 'link'] = process.argv.slice(2)
const git = createGit({ environment: { PATH: process.env['PATH'], HOME: directory } })
const mirror = openMirror({
  git,
  directory,
  link,
  repo,
  ref: 'HEAD',
  publish: publish === 'copy' ? 'copy' : 'link',
})
process.stdout.write('ready\n')
for (;;) {
  await mirror
    .sync({ signal: AbortSignal.timeout(60_000) })
    .catch((error: Error) => process.stdout.write(`${error.message}\n`))
  await new Promise((resolve) => setTimeout(resolve, 5))
}
