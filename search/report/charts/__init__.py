"""The charts of a study: in each file the data of a chart, and the figure drawn from them."""
