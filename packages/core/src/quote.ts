/** A text of somebody else inside a sentence: bounded, with nothing in it that could be taken for the sentence. */
export const quote = (shown: string): string =>
  JSON.stringify(shown.length > 200 ? `${shown.slice(0, 200)}...` : shown)
