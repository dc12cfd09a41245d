"""Deep models of sequences: recurrent ones (VRNN, SRNN, SVG), a Markov one, and one of two time scales."""
