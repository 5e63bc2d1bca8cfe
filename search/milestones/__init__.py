"""What a team hands in: Tables 1, 2 and 3, a replay of what they claim, slides, and the zips, packed and checked."""
