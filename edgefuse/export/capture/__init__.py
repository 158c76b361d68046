"""From a torch module to one flat program that stands for it: how it is called, what it returns, whether one graph can
stand for it at all, and the capture itself. Used by every frontend whose file holds torch code."""
