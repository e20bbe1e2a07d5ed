"""Step 3, the choice: which formulation computes each of the three maps.

In: a platform and a `Problem`, integers alone. Out: a `Formulation`: the name of a
lowering, its variant, and whether the arrays are cut into pieces. `choose` is the file
to read first. On a CPU it compares estimates (`cost`); on a GPU or TPU it reads a table
of preferences (`tables`). No array is touched here.
"""
