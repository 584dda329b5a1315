"""What a reader brings: a network of any layers, trained by any rule, a model of Keras, images in a file.

How they are read and such a network is trained, what is measured on it over time, and the rule that says what
is wrong with it belong here; `lib.look` is the one call for all of that.
"""
