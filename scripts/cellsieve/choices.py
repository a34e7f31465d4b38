"""Names that options take, known without importing what they name."""

# engines of cellsieve.coarse
COARSE = ("watershed", "region_growing", "split_merge")

# kinds of prompts, see cellsieve.prompts
PROMPT_KINDS = ("point", "box", "darkest", "neighbours")
