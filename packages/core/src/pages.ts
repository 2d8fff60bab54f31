import type { Section } from './html.ts'
import { plain } from './log.ts'

/** A page that a container adds to its admin API. */
export interface PageSpec {
  readonly title: string
  /** One sentence: what it shows. */
  readonly help: string
}

export type PageSpecs = Readonly<Record<string, PageSpec>>

/** What a page says at one moment. */
export interface PageContent {
  json(): unknown
  /** Undefined where people are shown the JSON. */
  sections(): readonly Section[] | undefined
}

/** The pages of a container that are served by now. */
export class Pages {
  readonly #sources = new Map<string, () => Promise<PageContent>>()
  readonly #clean: (value: unknown) => unknown

  /** `redact` takes secrets out of what is shown, which often quotes an error. */
  constructor(redact: (text: string) => string = (text) => text) {
    this.#clean = (value) => plain(value, redact, whole)
  }

  get paths(): readonly string[] {
    return [...this.#sources.keys()]
  }

  serve<T>(path: string, data: () => T | Promise<T>, show?: (data: T) => readonly Section[]): void {
    if (this.#sources.has(path)) throw new Error(`page "${path}" is served already`)
    this.#sources.set(path, async () => {
      const now = await data()
      return {
        json: () => this.#clean(now),
        sections: () => show && (this.#clean(show(now)) as readonly Section[]),
      }
    })
  }

  /** What a page says now; undefined where it is not served yet. */
  async read(path: string): Promise<PageContent | undefined> {
    return this.#sources.get(path)?.()
  }
}

/** Unlike a line of the log, a page is asked for, and nothing of it is stored. */
const whole = { depth: Number.POSITIVE_INFINITY, text: Number.POSITIVE_INFINITY }
