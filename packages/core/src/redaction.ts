import { redactor } from './log.ts'

/** Takes secrets out of texts; more of them may become known. */
export interface Redaction {
  readonly redact: (text: string) => string
  /** Adds a secret; an empty one is none. */
  readonly hide: (secret: string) => void
}

/** Of those that become known later only so many are kept, the last ones: a token an hour must not fill the memory. */
const MOST_HIDDEN = 100

export function redactionOf(secrets: readonly string[]): Redaction {
  const hidden = new Set<string>()
  let redact = redactor(secrets)
  return {
    redact: (text) => redact(text),
    hide(secret) {
      if (secret === '' || secrets.includes(secret)) return
      const isKnown = hidden.delete(secret)
      hidden.add(secret)
      if (isKnown) return
      const [oldest = ''] = hidden
      if (hidden.size > MOST_HIDDEN) hidden.delete(oldest)
      redact = redactor([...secrets, ...hidden])
    },
  }
}
