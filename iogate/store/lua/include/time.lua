-- Corrects the clock before a script uses it.
-- needs: clock
correct_clock()
